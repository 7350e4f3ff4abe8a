"""infra/operator-policy.json, for who runs the commands of a deployment, with its three words filled in."""

import json
import re
from collections.abc import Iterable

from tests.infra import templates
from tests.infra.account import ACCOUNT, REGION
from tests.infra.calls import Call, Place, distinct, needed
from tests.infra.policies import Document, Request, Verdict, evaluate

PATH = templates.FOLDER / "operator-policy.json"
COMMANDS = r"-m backend (provision|destroy|doctor)\b"


def policy(name: str = "birds") -> list[Document]:
    """As it is for the deployment *name*."""
    text = PATH.read_text(encoding="utf-8")
    for word, value in (("NAME", name), ("ACCOUNT", ACCOUNT), ("REGION", REGION)):
        text = re.sub(rf"\b{word}\b", value, text)
    return [json.loads(text)]


def of_commands(calls: Iterable[Call]) -> list[Request]:
    """What must be allowed for the calls of provision, destroy and doctor among *calls*."""
    own = distinct(call for call in calls if re.search(COMMANDS, call.program))
    return [request for call in own for request in needed(call, Place(ACCOUNT, REGION))]


def refused(requests: Iterable[Request]) -> list[str]:
    """Those that the policy of the deployment ``birds`` does not allow."""
    documents = policy()
    return [str(each) for each in requests if evaluate(documents, each) is not Verdict.ALLOWED]
