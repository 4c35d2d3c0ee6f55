"""Every way in which a server can fail: what it becomes, how often it is asked, what is kept."""

import json
from pathlib import Path

import pytest

from sae_stability.errors import StudyError
from sae_stability.interpret.endpoint.client import Client, Settings
from sae_stability.interpret.endpoint.judge import Endpoint
from sae_stability.interpret.judges import Question
from sae_stability.interpret.outcomes import STATUSES
from tests.interpret import server
from tests.interpret.server import KEY, Chat

QUESTION = Question("the word river", ("a river holds", "old stone", "the river near", "quiet dawn", "under lamp"))


@pytest.fixture
def chat(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("TESTED_KEY", KEY)
    with server.serving() as chat:
        yield chat


def endpoint(chat: Chat, folder: Path, **settings) -> Endpoint:
    judge = {name: value for name, value in server.judge(chat, **settings).items() if name != "kind"}
    return Endpoint(folder, **judge)


def outcomes(replies) -> set[str]:
    return {reply.outcome for some in replies for reply in some}


def test_a_good_answer_is_read_kept_and_not_asked_for_again(chat: Chat, tmp_path: Path):
    for _ in range(2):
        (replies,) = endpoint(chat, tmp_path).detect([QUESTION])
        assert [reply.value for reply in replies] == [1, 0, 1, 0, 0]
    assert chat.asked.total() == 1
    assert chat.keys == {f"Bearer {KEY}"}


# action, outcome, how often it is asked in one run of three tries, whether a second run asks again
FAILURES = [
    ("unparsed", "unparsed", 1, False),
    ("refused", "refused", 1, False),
    ("refusal", "refused", 1, False),
    ("filtered", "refused", 1, False),
    ("flagged", "refused", 1, False),
    ("empty", "empty", 1, False),
    ("null", "empty", 1, False),
    ("length", "truncated", 1, False),
    ("cut", "truncated", 3, True),
    ("not json", "truncated", 3, True),
    ("no choices", "truncated", 3, True),
    ("huge", "truncated", 3, True),
    ("limited", "rate_limited", 3, True),
    ("limited, no hint", "rate_limited", 3, True),
    ("overloaded", "server_error", 3, True),
    ("error in 200", "server_error", 3, True),
    ("gateway", "timed_out", 3, True),
    ("rejected", "rejected", 1, True),
    ("closed", "server_error", 3, True),
]


@pytest.mark.parametrize(("action", "outcome", "asked", "again"), FAILURES)
def test_a_failure_is_an_outcome_and_no_score(
    action: str, outcome: str, asked: int, again: bool, chat: Chat, tmp_path: Path
):
    chat.behave = lambda body, before: action
    replies = endpoint(chat, tmp_path).detect([QUESTION])
    assert outcomes(replies) == {outcome}
    assert {reply.value for some in replies for reply in some} == {None}
    assert outcome in STATUSES
    assert chat.asked.total() == asked
    chat.behave = lambda body, before: "ok"
    assert outcomes(endpoint(chat, tmp_path).detect([QUESTION])) == ({"ok"} if again else {outcome})
    assert chat.asked.total() == asked + again


@pytest.mark.parametrize("action", ["late", "drip"])
def test_a_call_ends_at_its_time_limit(action: str, chat: Chat, tmp_path: Path):
    chat.behave = lambda body, before: action
    assert outcomes(endpoint(chat, tmp_path, timeout=0.5, tries=2).detect([QUESTION])) == {"timed_out"}
    assert chat.asked.total() == 2


@pytest.mark.parametrize("action", ["cut", "not json", "limited", "overloaded", "closed", "gateway"])
def test_what_goes_away_is_tried_again(action: str, chat: Chat, tmp_path: Path):
    chat.behave = lambda body, before: action if before < 2 else "ok"
    assert outcomes(endpoint(chat, tmp_path).detect([QUESTION])) == {"ok"}
    assert chat.done == {action: 2, "ok": 1}


def test_one_failure_leaves_the_other_calls_alone(chat: Chat, tmp_path: Path):
    chat.behave = lambda body, before: "rejected" if "word lamp" in server.prompt_of(body) else "ok"
    words = ("river", "lamp", "stone")
    replies = endpoint(chat, tmp_path).detect([Question(f"the word {word}", QUESTION.texts) for word in words])
    assert [outcomes([some]) for some in replies] == [{"ok"}, {"rejected"}, {"ok"}]


@pytest.mark.parametrize("action", ["no credit", "quota", "credit in 200"])
def test_without_credit_nothing_more_is_asked(action: str, chat: Chat, tmp_path: Path):
    chat.behave = lambda body, before: action if chat.asked.total() > 3 else "ok"
    many = [Question(f"the word {number}", QUESTION.texts) for number in range(40)]
    with pytest.raises(StudyError, match=r"no credit left; 3. of 40 calls were not made. Add credit and run again"):
        endpoint(chat, tmp_path, concurrency=1).detect(many)
    assert chat.asked.total() == 4
    chat.behave = lambda body, before: "ok"
    assert outcomes(endpoint(chat, tmp_path).detect(many)) == {"ok"}
    assert chat.answered.total() == len(chat.answered) == 40


def test_a_partial_run_goes_on_without_credit(chat: Chat, tmp_path: Path):
    chat.behave = lambda body, before: "no credit" if chat.asked.total() > 1 else "ok"
    judge = endpoint(chat, tmp_path, partial=True, concurrency=1)
    many = [Question(f"the word {number}", QUESTION.texts) for number in range(10)]
    assert [outcomes([some]) for some in judge.detect(many)] == [{"ok"}] + [{"no_credit"}] * 9
    assert outcomes(judge.detect([QUESTION])) == {"no_credit"}
    assert chat.asked.total() == 2


@pytest.mark.parametrize(
    ("action", "words"),
    [("bad key", r"refuses the key \(401\); set the variable that holds it"), ("no model", "no such address or model")],
)
def test_what_no_call_can_mend_ends_the_run_in_a_line_without_the_key(
    action: str, words: str, chat: Chat, tmp_path: Path, capfd
):
    chat.behave = lambda body, before: action
    with pytest.raises(StudyError, match=words) as caught:
        endpoint(chat, tmp_path).detect([QUESTION])
    assert KEY not in str(caught.value) + "".join(capfd.readouterr())


def test_a_key_that_the_server_repeats_is_blotted_out(chat: Chat, tmp_path: Path, capfd):
    chat.behave = lambda body, before: "echo"
    answers = endpoint(chat, tmp_path).client.ask([[{"role": "user", "content": "say it"}]])
    assert answers[0].text == "EXPLANATION: Bearer [key] [key]"
    assert not [path for path in tmp_path.rglob("*") if path.is_file() and KEY in path.read_text()]


def test_a_missing_key_and_a_missing_server_are_said_in_a_line(chat: Chat, tmp_path: Path, monkeypatch):
    with pytest.raises(StudyError, match="no server answers"):
        endpoint(chat, tmp_path, url="http://127.0.0.1:9").detect([QUESTION])
    monkeypatch.delenv("TESTED_KEY")
    with pytest.raises(StudyError, match="variable TESTED_KEY is not set; set it to the key, or write key_variable"):
        endpoint(chat, tmp_path)
    assert outcomes(endpoint(chat, tmp_path, key_variable=None).detect([QUESTION])) == {"ok"}
    assert None in chat.keys
    with pytest.raises(StudyError, match="must begin with https"):
        endpoint(chat, tmp_path, url="file:///etc/passwd")


def test_the_budget_is_kept_over_runs(chat: Chat, tmp_path: Path):
    """A call takes 110 tokens here; what is set aside before it, the longest answer, is 30 and a prompt."""
    many = [Question(f"the word {number}", QUESTION.texts) for number in range(40)]
    limit = {"budget_tokens": 1500, "max_tokens": 30}
    for _ in range(3):
        with pytest.raises(StudyError, match=r"budget is used up; .* Raise budget_tokens or budget_money"):
            endpoint(chat, tmp_path, **limit).detect(many)
    spent = endpoint(chat, tmp_path).client.budget.spent
    assert spent.calls == chat.asked.total()
    assert 1000 < spent.tokens <= 1500
    assert outcomes(endpoint(chat, tmp_path, max_tokens=30).detect(many)) == {"ok"}
    assert chat.asked.total() == len(chat.asked) == 40


def test_money_is_counted_by_the_prices_of_prompts_and_answers(chat: Chat, tmp_path: Path):
    many = [Question(f"the word {number}", QUESTION.texts) for number in range(40)]
    prices = {"prompt_price": 1000.0, "completion_price": 5000.0, "max_tokens": 30}
    with pytest.raises(StudyError, match="budget is used up"):
        endpoint(chat, tmp_path, budget_money=2.0, **prices).detect(many)
    client = endpoint(chat, tmp_path, **prices).client
    # 100 tokens of prompt and 10 of answer: 0.10 + 0.05 a call.
    assert client.budget.limits.price(client.budget.spent) == pytest.approx(0.15 * chat.asked.total())
    assert 1.0 < client.budget.limits.price(client.budget.spent) <= 2.0


def test_a_dry_run_asks_nothing_and_says_what_it_would_cost(chat: Chat, tmp_path: Path, monkeypatch):
    endpoint(chat, tmp_path).detect([QUESTION])
    monkeypatch.delenv("TESTED_KEY")
    dry = endpoint(chat, tmp_path, dry_run=True, prompt_price=1.0, completion_price=2.0, max_tokens=1000)
    dry.detect([QUESTION])
    words = dry.client.estimate()
    assert chat.asked.total() == 1
    # Another longest answer is another call.
    assert "1 calls to make, 0 answered before" in words
    assert "1,000 of answers; cost at most about 0.00; spent 0.00" in words
    dry = endpoint(chat, tmp_path, dry_run=True)
    dry.detect([QUESTION, QUESTION])
    assert "0 calls to make, 1 answered before" in dry.client.estimate()


def test_a_changed_setting_asks_again_and_one_that_changes_no_answer_does_not(chat: Chat, tmp_path: Path):
    endpoint(chat, tmp_path).detect([QUESTION])
    endpoint(chat, tmp_path, concurrency=1, tries=9, timeout=3.0, budget_tokens=10**6).detect([QUESTION])
    assert chat.asked.total() == 1
    for changed in ({"model": "other"}, {"temperature": 0.5}, {"extra": {"seed": 1}}, {"max_tokens": 7}):
        before = chat.asked.total()
        endpoint(chat, tmp_path, **changed).detect([QUESTION])
        assert chat.asked.total() == before + 1


def test_extra_entries_are_sent_and_null_takes_one_away():
    settings = Settings(url="http://x", model="m", extra={"max_tokens": None, "max_completion_tokens": 9})
    assert settings.body([]) == {"model": "m", "messages": [], "temperature": 0.0, "max_completion_tokens": 9}


def test_a_damaged_answer_names_its_file(chat: Chat, tmp_path: Path):
    endpoint(chat, tmp_path).detect([QUESTION])
    (path,) = [path for path in tmp_path.rglob("*.json") if path.name != "spent.jsonl"]
    stored = json.loads(path.read_text())
    path.write_text(json.dumps({**stored, "body": {}}))
    with pytest.raises(StudyError, match=f"{path.name}: damaged or changed"):
        endpoint(chat, tmp_path).detect([QUESTION])
    del stored["digest"]
    path.write_text(json.dumps({**stored, "body": {}}))
    with pytest.raises(StudyError, match=f"{path.name}: not the answer that its name says; delete it and run again"):
        endpoint(chat, tmp_path).detect([QUESTION])


def test_all_calls_wait_when_the_server_says_how_long(chat: Chat, tmp_path: Path):
    """The first call is told to wait: no other is sent in that time, so none of them is told so too."""
    chat.behave = lambda body, before: "limited" if chat.asked.total() == 1 else "ok"
    client = Client(Settings(url=chat.url, model="m", key_variable=None, concurrency=1), tmp_path)
    client.ask([[{"role": "user", "content": f"number {number}"}] for number in range(5)])
    assert chat.done == {"limited": 1, "ok": 5}
