"""Check an archive with roc-validator, in an environment of its own: it asks for older packages than this project's.

    .validator/bin/python tests/workflow/validated_crate.py ARCHIVE CONTEXT

CONTEXT is a copy of RO-Crate's JSON-LD context, as the package `rocrate` carries it, because the validator would fetch
it from the network. Prints every requirement of RO-Crate 1.1 that does not hold; exits with 1 if there is one.
"""

import sys
from pathlib import Path

import requests
from rocrate_validator import services
from rocrate_validator.models import Severity, ValidationSettings
from rocrate_validator.utils.http import HttpRequester

ADDRESS = "https://w3id.org/ro/crate/1.1/context"


def main(archive: str, context: str) -> int:
    text = Path(context).read_bytes()

    def get(_self: HttpRequester, url: str, **_settings: object) -> requests.Response:
        found = requests.Response()
        found.status_code = 200 if url == ADDRESS else 404
        found.headers["Content-Type"] = "application/ld+json"
        found._content = text if url == ADDRESS else b""
        return found

    HttpRequester.get = get
    settings = ValidationSettings(
        rocrate_uri=archive, profile_identifier="ro-crate-1.1", requirement_severity=Severity.REQUIRED
    )
    result = services.validate(settings)
    for issue in result.get_issues():
        print(issue.check.identifier, issue.message)
    print(f"{len(result.executed_checks)} checks, {len(result.get_issues())} issues")
    return 0 if result.passed() else 1


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
