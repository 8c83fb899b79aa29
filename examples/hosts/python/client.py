"""A host in Python beside the agent, through its socket; nothing of modelota is imported. Standard library only.

    client.py SOCKET status             what is in use, what is under way
    client.py SOCKET offer              look for a new version, show it, and tell the agent in which words
    client.py SOCKET answer DIGEST now  or tonight (22:00, while charging), later, skip, decline
    client.py SOCKET progress           print what happens until nothing is under way; the end decides the exit status
    client.py SOCKET answers            what was answered, and what can still be taken back
    client.py SOCKET revoke ID          take an answer back
    client.py SOCKET rollback [VERSION] go back to an earlier version

Exit status: 0 done, 1 the agent refused or the update failed, 2 wrong arguments.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import socket
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

TONIGHT_HOUR = 22
LOOK_AFTER_S = 20.0  # the agent sends a comment every 15 s; a stream that is silent for longer is broken
OVER = {"idle", "offered", "watching", "degraded"}


class RefusedError(Exception):
    """The agent refused; carries its error: a code with facts, and how the device is now."""

    def __init__(self, error: dict[str, Any]) -> None:
        super().__init__(f"{error.get('code')} {error.get('params', {})} (now: {error.get('now') or 'unknown'})")


class _Connection(http.client.HTTPConnection):
    def __init__(self, path: str, timeout_s: float) -> None:
        super().__init__("agent", timeout=timeout_s)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


class Client:
    """Requests to an agent, and its events.

    Args:
        path: of its socket.
    """

    def __init__(self, path: str) -> None:
        self._path = path

    def ask(self, method: str, target: str, body: object = None) -> Any:  # noqa: ANN401  JSON has no narrower type
        """One request.

        Raises:
            RefusedError: with the agent's error.
            OSError: nothing answers.
        """
        with contextlib.closing(_Connection(self._path, timeout_s=600.0)) as connection:
            data = None if body is None else json.dumps(body).encode()
            connection.request(method, target, data, {"content-type": "application/json"})
            answer = connection.getresponse()
            value = json.loads(answer.read())
        if answer.status >= 300:
            raise RefusedError(value)
        return value

    def status(self) -> dict[str, Any]:
        """The device's first model; a device for several models has more."""
        model: dict[str, Any] = self.ask("GET", "/v1/status")["models"][0]
        return model

    def events(self, last: int | None) -> Iterator[dict[str, Any]]:
        """Events after the one with id `last`, until the stream ends; further ones are asked for with the last id."""
        with contextlib.closing(_Connection(self._path, timeout_s=LOOK_AFTER_S)) as connection:
            headers = {} if last is None else {"Last-Event-ID": str(last)}
            connection.request("GET", "/v1/events", headers=headers)
            with contextlib.suppress(TimeoutError):
                for line in connection.getresponse():
                    if line.startswith(b"data: "):
                        yield json.loads(line[len(b"data: ") :])
                    elif line.startswith(b":"):
                        return  # nothing new: look at the status now and then


def say(text: str) -> None:
    """Print what may come from outside without what could steer the terminal."""
    print("".join(each for each in text if each.isprintable() or each == "\n"), flush=True)


def status(client: Client) -> int:
    """What is in use, what is under way."""
    say(_line(client.status()))
    return 0


def _line(model: dict[str, Any]) -> str:
    under_way = f" -> {model['target_version']}" if model["target_version"] else ""
    waits = f" ({', '.join(model['waits_for'])})" if model["waits_for"] else ""
    return f"{model['model']}: {model['active_version'] or '-'} {model['phase']}{waits}{under_way}"


def offer(client: Client) -> int:
    """Look for a new version and show it; without that, no answer is taken."""
    result = client.ask("POST", "/v1/check", {})[0]
    view = result["offer"]
    if view is None:
        say("up-to-date" if result["up_to_date"] else " ".join(each["code"] for each in result["refused"]))
        return 0
    found = view["offer"]
    text = "\n".join(
        [
            f"{view['title'].get('en', found['model'])} {found['from_version'] or '-'} -> {found['to_version']}",
            f"What changes: {found['notes'].get('en', '')}",
            f"Download: {found['planned_bytes']} bytes, {found['ceiling_bytes']} at most",
            f"New permissions: {', '.join(found['new_permissions']) or '-'}",
            f"Offer: {view['digest']}",
        ]
    )
    say(text)
    shown = {"offer_digest": view["digest"], "language": "en", "text": text, "channel": "host"}
    client.ask("POST", "/v1/shown", shown)
    return 0


def answer(client: Client, digest: str, word: str) -> int:
    """Give the owner's answer to the offer that was shown."""
    wishes: dict[str, object] = {}
    if word == "tonight":
        at = datetime.now().astimezone().replace(hour=TONIGHT_HOUR, minute=0, second=0, microsecond=0)
        wishes["conditions"] = ["charging"]
        if at > datetime.now(UTC):
            wishes["not_before"] = f"{at.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"
            wishes["expires_s"] = int(timedelta(days=2).total_seconds())  # then it is asked again
    verdict = "accept" if word in {"now", "tonight"} else word
    model = client.ask(
        "POST", "/v1/decisions", {"offer_digest": digest, "answer": verdict, "channel": "host", **wishes}
    )
    say(_line(model))
    return 0


def progress(client: Client) -> int:
    """Print what happens. Events make it prompt, the status decides; after a `reset` one simply goes on."""
    last: int | None = None
    while (model := client.status())["phase"] not in OVER and not model["paused"]:
        for event in client.events(last):
            last, data = event["id"], event["data"]
            if event["kind"] == "progress":
                say(f"{data['step']} {data['done']}/{data['total'] or '?'}")
            elif event["kind"] == "phase":
                say(f"{data['phase']} {' '.join(data['waits_for'])}".strip())
            if event["kind"] == "outcome" or data.get("paused"):
                break
    outcome = model["last_outcome"]
    if model["paused"] or outcome is None:
        return status(client)
    error = f" [{outcome['error']['code']}]" if outcome["error"] else ""
    say(f"{outcome['operation']} {outcome['to_version']}: {outcome['result']}{error}")
    return 0 if outcome["result"] == "done" else 1


def answers(client: Client) -> int:
    """What was answered, newest first."""
    for each in client.ask("GET", "/v1/decisions")["decisions"]:
        revocable = " (can be taken back)" if each["revocable"] else ""
        say(f"{each['id']} {each['at']} {each['answer']} {each['to_version'] or ''} {each['state']}{revocable}")
    return 0


def revoke(client: Client, number: str) -> int:
    """Take an answer back; the offer stands again."""
    each = client.ask("DELETE", f"/v1/decisions/{int(number)}")
    say(f"{each['id']} {each['answer']} {each['state']}")
    return 0


def rollback(client: Client, version: str | None = None) -> int:
    """Go back: at once when the version is kept, else by an offer that is answered like any other."""
    result = client.ask("POST", "/v1/rollback", {"version": version, "channel": "host"})
    say("started" if result["started"] else f"offer {result['offer']['digest']}")
    return 0


COMMANDS = {each.__name__: each for each in (status, offer, answer, progress, answers, revoke, rollback)}


def main(words: list[str]) -> int:
    """Carry out one command."""
    known = len(words) > 1 and words[1] in COMMANDS
    try:
        return COMMANDS[words[1]](Client(words[0]), *words[2:]) if known else _usage()
    except TypeError:  # too few or too many words
        return _usage()
    except (RefusedError, OSError, http.client.HTTPException) as error:
        print(error, file=sys.stderr)
        return 1


def _usage() -> int:
    print(__doc__, file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
