"""How long the parts of the way in keep what they hold: one after the other, so told in one place."""

from __future__ import annotations

SECONDS_A_DAY = 86400
QUEUE_DAYS = 4  # a notification waits for the processor
DEAD_LETTER_DAYS = 14  # since it came first, as SQS counts; the most there is
WAITING_DAYS = 14  # an event waits for its tenant to be registered, and is rejected then
# A dead letter may be sent back into the queue on its last day, and must still find its object. What waits lies five
# days longer than it may wait, should nobody look after it for so long.
LANDING_DAYS = DEAD_LETTER_DAYS + QUEUE_DAYS + 1
# How long each class keeps (audit.handlers.common.retention has them too), and how much later an object is deleted.
CLASS_DAYS = {"90d": 90, "1y": 366, "3y": 1096, "7y": 2557}
SPARE_DAYS = 2
