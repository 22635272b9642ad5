"""What needs a person: runs that have failed, and messages that could not be understood, admitted or handled.

*Model.* A dead letter is a row: why, since when, how often, and what was done with it. It is `open` until it is
retried, discarded or resolved. The letter of a run has the id of the run. Triggers write it in the transaction in which
the run fails, and note that it was retried in the one that takes the run up again. Letters of messages come from the
queue `penstock.dead-letters`, which schedulers consume: those that a service has put there with a reason, those that
RabbitMQ has (they were lost too often, or their queue refused them), and those that anybody else has.

*Nothing is lost.* A message is acknowledged after the commit of its row. What cannot be decoded is kept as bytes; of a
body of more than MAX_BODY_BYTES the beginning is kept, with its size.

*Once.* Every event of dead-lettering has a name, in a header; of what RabbitMQ has dead-lettered, content and time give
one. So a message that is delivered again changes nothing. One that was retried carries the id of its letter, which is
open again when it comes back.

*Retrying.* A run is taken up again from the step that failed. A message is published again to the queue that it came
from: the transaction that says `retried` also says that it is to be published, and a scheduler publishes it with
confirm. If that scheduler dies between the two, another one publishes it again; that is harmless, since its message id
is an idempotency key, and one that had none gets one here.

*Locks* are taken in one order: runs, then letters. A letter of a run is changed first by the run's trigger.
"""

from penstock.runs.dead_letters.acts import (
    Handled,
    LetterAct,
    handle_letters,
)
from penstock.runs.dead_letters.messages import (
    LETTER_HEADER,
    MAX_BODY_BYTES,
    DeadMessage,
    Unpublished,
    delete_old_messages,
    note_published,
    store_message,
    take_unpublished,
)

__all__ = [
    "LETTER_HEADER",
    "MAX_BODY_BYTES",
    "DeadMessage",
    "Handled",
    "LetterAct",
    "Unpublished",
    "delete_old_messages",
    "handle_letters",
    "note_published",
    "store_message",
    "take_unpublished",
]
