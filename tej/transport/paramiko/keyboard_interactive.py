"""Replies to keyboard-interactive prompts of a server."""

from __future__ import annotations

from collections.abc import Sequence

from tej.transport.prompts import Ask


class PromptReplies:
    """Replies to keyboard-interactive prompts; called in a thread of paramiko."""

    def __init__(self, where: str, password: str | None, ask: Ask | None) -> None:
        self._where = where
        self._password = password
        self._ask = ask
        self.error: BaseException | None = None
        self.unanswered: list[str] = []
        self.prompted = False

    def __call__(
        self, title: str, instructions: str, prompts: Sequence[tuple[str, bool]]
    ) -> list[str]:
        try:
            head = "".join(f"{t.strip()}\n" for t in (title, instructions) if t.strip())
            return [self._answer(head + text, echo) for text, echo in prompts]
        except BaseException as error:
            self.error = error
            return []

    def _answer(self, prompt: str, echo: bool) -> str:
        if self._password is not None and not echo:
            password, self._password = self._password, None
            return password
        if self._ask is None:
            self.unanswered.append(
                f"The server asked {prompt.strip()!r}, and tej cannot prompt here"
            )
            return ""
        self.prompted = True
        # The server sends the text of the prompt.  The prefix shows the user which
        # server sent the prompt.
        return self._ask(f"({self._where}) {_printable(prompt)}")


def _printable(prompt: str) -> str:
    """Replace control characters in a prompt, which could redraw the terminal."""
    return "".join(
        letter if letter.isprintable() or letter == "\n" else "?" for letter in prompt
    )
