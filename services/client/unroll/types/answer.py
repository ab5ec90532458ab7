"""What all answers of the server have in common. Unknown fields are kept, so that a newer server does no harm."""

from pydantic import BaseModel, ConfigDict

TERMINAL_STATES = frozenset({"succeeded", "failed", "cancelled"})


class Answer(BaseModel):
    """A value that is read and never changed."""

    model_config = ConfigDict(frozen=True, extra="allow", protected_namespaces=())
