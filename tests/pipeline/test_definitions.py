"""Names are followed through every kind of import and binding, and a digest tells any two definitions apart."""

import pytest


def test_functions_classes_constants_and_decorators_of_a_module(package):
    found = package.reached(
        {
            "a.py": """
            ONE = 1
            TWO = ONE + 1
            UNUSED = 3

            def decorate(f): return f

            class Base: pass

            @decorate
            class Thing(Base):
                size = TWO

            def start(): return Thing()
            def other(): return UNUSED
            """
        },
        "a.start",
    )
    assert found == {
        "a: ONE = 1",
        "a: TWO = ONE + 1",
        "a: def decorate(f): return f",
        "a: class Base: pass",
        "a: @decorate class Thing(Base): size = TWO",
        "a: def start(): return Thing()",
    }


@pytest.mark.parametrize(
    ("imports", "use"),
    [
        ("from planted.b import f", "f()"),
        ("from planted.b import f as g", "g()"),
        ("from planted import b", "b.f()"),
        ("from planted import b as c", "c.f()"),
        ("import planted.b", "planted.b.f()"),
        ("import planted.b as c", "c.f()"),
        ("from planted.again import f", "f()"),
        ("from planted.again import b", "b.f()"),
    ],
)
@pytest.mark.parametrize("inside", [True, False])
def test_every_way_to_import(package, imports: str, use: str, inside: bool):
    body = f"def start():\n    {imports}\n    return {use}\n" if inside else f"{imports}\ndef start(): return {use}\n"
    modules = {"a.py": body, "b.py": "def f(): return 1\ndef g(): return 2\n"}
    modules["again.py"] = "from planted.b import f\nfrom planted import b\n"
    found = {name for name in package.reached(modules, "a.start") if name.startswith("b:")}
    assert found == {"b: def f(): return 1"}


def test_a_module_handed_on_as_a_value_counts_whole(package):
    modules = {"a.py": "from planted import b\ndef start(): return use(b)\ndef use(m): return m.f()\n"}
    found = package.reached({**modules, "b.py": "def f(): return 1\nX = 2\n"}, "a.start")
    assert {"b: def f(): return 1", "b: X = 2"} <= found


def test_a_module_loaded_by_name_counts_where_it_is_named(package):
    modules = {
        "a.py": "from importlib import import_module\ndef start(): return import_module('planted.b')\n",
        "b.py": "X = 1",
    }
    assert "b: X = 1" not in package.reached(modules, "a.start")
    assert "b: X = 1" in package.reached(modules, "a.start", loaded=("b",))


def test_a_name_bound_in_a_branch_counts_with_the_branch(package):
    modules = {"a.py": "try:\n    import fast\n    def f(): return 1\nexcept ImportError:\n    def f(): return 2\n"}
    (found,) = package.reached(modules, "a.f")
    assert found.startswith("a: try: import fast")


def test_two_definitions_on_a_line_count_each(package):
    found = package.reached({"a.py": "A = 1; B = 2; C = 3\ndef start(): return A, B\n"}, "a.start")
    assert found == {"a: A = 1; B = 2; C = 3", "a: B = 2; C = 3", "a: def start(): return A, B"}


def test_an_import_in_one_method_does_not_hide_the_name_from_another(package):
    modules = {
        "a.py": """
        from planted.b import f

        class Start:
            def one(self):
                from planted.c import f
                return f()

            def two(self): return f()
        """,
        "b.py": "def f(): return 1\n",
        "c.py": "def f(): return 2\n",
    }
    assert {"b: def f(): return 1", "c: def f(): return 2"} <= package.reached(modules, "a.Start")


def test_a_name_both_imported_and_bound_counts_both_ways(package):
    modules = {
        "a.py": """
        try:
            from planted.b import f
        except ImportError:
            def f(): return 2

        def start(): return f()
        """,
        "b.py": "def f(): return 1\n",
    }
    found = package.reached(modules, "a.start")
    assert "b: def f(): return 1" in found
    assert any(name.startswith("a: try:") for name in found)


def test_a_loaded_module_counts_with_the_definitions_that_it_hands_on(package):
    modules = {"b.py": "from planted.c import f\nfrom planted import c\nX = 1\n", "c.py": "def f(): return 1\nY = 2\n"}
    assert package.reached(modules, loaded=("b",)) == {"b: X = 1", "c: def f(): return 1"}


def test_an_entry_of_a_table_counts_where_it_is_named(package):
    modules = {
        "a.py": """
        def f(): pass
        def g(): pass
        TABLE = {
            'one': f,
            'two': g
        }
        def start(x): return TABLE[x]
        """
    }
    start = "a: def start(x): return TABLE[x]"
    assert package.reached(modules, "a.start", left_out=("a.TABLE",)) == {start}
    found = package.reached(modules, "a.start", loaded=("a.TABLE[two]",), left_out=("a.TABLE",))
    assert len(found) == 3
    assert {start, "a: def g(): pass"} < found
    with pytest.raises(KeyError, match="three"):
        package.reached(modules, "a.start", loaded=("a.TABLE[three]",))


def test_what_is_left_out_is_not_followed(package):
    modules = {"a.py": "A = 1\ndef check(): return A\ndef start(): return check()\n"}
    assert package.reached(modules, "a.start", left_out=("a.check",)) == {"a: def start(): return check()"}


def test_a_name_that_does_not_exist_is_an_error(package):
    with pytest.raises(KeyError, match="gone"):
        package.reached({"a.py": "from planted.b import gone\ndef start(): return gone()\n", "b.py": ""}, "a.start")


USE = "def start(x):\n    '''Text.'''\n    return f(x) + np.sum(x)  # a remark\n"


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("from numpy import sin as f", "from numpy import cos as f"),
        ("from numpy import sin as f", "from scipy import sin as f"),
        ("import numpy as np", "import scipy as np"),
        ("from planted.b import f", "from planted.c import f"),
        ("from planted.b import f", "from planted.b import g as f"),
        ("from planted.handed_on import f", "from planted.handed_on import g as f"),
        ("from planted.handed_on import h as f", "from planted.handed_on import i as f"),
    ],
)
@pytest.mark.parametrize("inside", [True, False])
def test_a_name_imported_from_elsewhere_is_another_digest(package, before: str, after: str, inside: bool):
    others = {
        "b.py": "def f(): return 1\ndef g(): return 1\n",
        "c.py": "def f(): return 1\n",
        "handed_on.py": "from planted.b import f, g\nfrom os import sep as h, linesep as i\n",
    }
    indented = USE.replace("    return", "    {}\n    return") if inside else "{}\n" + USE
    digests = {package.digest({"a.py": indented.format(line), **others}, "a.start") for line in (before, after)}
    assert len(digests) == 2


@pytest.mark.parametrize(("before", "after"), [("planted.b", "planted.c"), ("os", "posixpath")])
def test_a_module_between_that_imports_from_elsewhere_is_another_digest(package, before: str, after: str):
    same = "def sep(): return 1\n"
    texts = [f"from {origin} import sep as f\n" for origin in (before, after)]
    modules = {"a.py": "from planted.between import f\n" + USE, "b.py": same, "c.py": same}
    assert len({package.digest({**modules, "between.py": text}, "a.start") for text in texts}) == 2


@pytest.mark.parametrize(
    ("other", "same"),
    [
        ("def start(x):\n    return f(x) + np.sum(x)", True),
        ("def start( x ):\n  'Other text.'\n  return (f(x) +\n np.sum(x, ))", True),
        ("def start(x):\n    return f(x) + np.sum(x, x)", False),
        ("def start(x):\n    return f(x) - np.sum(x)", False),
        ("def start(x):\n    return np.sum(x) + f(x)", False),
        ("def start(x=1):\n    return f(x) + np.sum(x)", False),
        ("def start(x):\n    return f(x) + np.sum(x)\n    return 1", False),
    ],
)
def test_a_digest_covers_no_text_and_no_layout(package, other: str, same: bool):
    imports = "from numpy import sin as f\nimport numpy as np\n"
    digests = {package.digest({"a.py": f"{imports}{text}\n"}, "a.start") for text in (USE, other)}
    assert len(digests) == (1 if same else 2)


@pytest.mark.parametrize(
    ("one", "two"),
    [
        ("x[1:]", "x[:1]"),
        ("x[::1]", "x[1:]"),
        ("1", "True"),
        ("1", "1.0"),
        ("1", "'1'"),
        ("x", "'x'"),
        ("x.y", "y.x"),
        ("x().y.z", "y.z(x)"),
        ("f(x, y)", "f((x, y))"),
        ("f(x, *y)", "f(x, y)"),
        ("f(x=y)", "f(y=x)"),
        ("f(**x)", "f(x=x)"),
        ("[x, [y]]", "[[x, y]]"),
        ("x < y < z", "(x < y) < z"),
        ("x and y or z", "x and (y or z)"),
        ("lambda x, /: x", "lambda x: x"),
        ("lambda *, x: x", "lambda x: x"),
        ("f'{x}'", "f'{x!r}'"),
        ("f'{x}'", "f'x'"),
        ("b'x'", "'x'"),
        ("0.0", "-0.0"),
    ],
)
def test_two_expressions_have_two_digests(package, one: str, two: str):
    assert len({package.digest({"a.py": f"A = {text}\n"}, "a.A") for text in (one, two)}) == 2
