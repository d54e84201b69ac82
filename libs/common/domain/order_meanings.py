"""What the words of the order state table mean, one line each, for docs/order-lifecycle.md."""

from __future__ import annotations

from types import MappingProxyType
from typing import Final

from libs.common.domain.orders import OrderEvent, Why
from libs.common.domain.vocabulary import OrderStatus

S, E = OrderStatus, OrderEvent

STATUS_MEANINGS: Final = MappingProxyType(
    {
        S.CREATED: "Approved and written down with its ledger hold; nothing has been sent.",
        S.DENIED: "Refused by us, or given up after it was shown absent at the venue.",
        S.SUBMITTING: "About to be sent, or sent and its answer not yet seen.",
        S.OUTCOME_UNKNOWN: "Sent, the answer lost: it may or may not live; it is looked up.",
        S.SUBMITTED: "The venue has it, but has not yet accepted it.",
        S.ACCEPTED: "The venue took it; it does not yet work in the market.",
        S.HELD: "A leg that waits at the venue for another order, such as a bracket's exit.",
        S.WORKING: "Open in the market, nothing executed that we know of.",
        S.PARTIALLY_FILLED: "Open in the market, executed in part.",
        S.PENDING_CANCEL: "A cancel was asked for and is only promised; a fill may still follow.",
        S.PENDING_REPLACE: "A replacement was asked for; until then this order is the live one.",
        S.SUSPENDED: "The venue holds it back from trading, such as in a halt.",
        S.DONE_FOR_DAY: "No more executions today; it may work again in the next session.",
        S.FILLED: "An end: executed completely.",
        S.CANCELED: "An end: cancelled at the venue, executions until then stay.",
        S.EXPIRED: "An end: its time in force ran out.",
        S.REJECTED: "An end: refused by the venue, at once or after it was accepted.",
        S.REPLACED: "An end: another order with its own id has taken its place.",
    }
)

EVENT_MEANINGS: Final = MappingProxyType(
    {
        E.DENY: "We refuse the order before anything is on the wire.",
        E.SEND: "We send it, once.",
        E.LOSE_OUTCOME: "The answer to the sending was lost: time-out, reset, 5xx or unreadable.",
        E.RESEND: "The look-up showed it absent: it is sent again under the next attempt number.",
        E.GIVE_UP: "The look-up showed it absent, and it is not worth sending any more.",
        E.ASK_CANCEL: "We want it cancelled; an order never sent is cancelled on the spot.",
        E.ASK_REPLACE: "We want it amended: the venue is asked for a replacement.",
        E.ACKNOWLEDGED: "The venue received it.",
        E.ACCEPTED: "The venue accepted it.",
        E.HELD: "The venue holds it until another order is done.",
        E.WORKING: "The venue says it is open in the market.",
        E.PARTLY_FILLED: "The venue, or the sum of executions, says a part is executed.",
        E.FILLED: "The venue, or the sum of executions, says all of it is executed.",
        E.PENDING_CANCEL: "The venue is working on a cancel, ours or someone else's.",
        E.CANCEL_REFUSED: "The venue does not cancel it.",
        E.PENDING_REPLACE: "The venue is working on a replacement.",
        E.REPLACE_REFUSED: "The venue does not replace it.",
        E.REPLACED: "The venue put another order in its place.",
        E.SUSPENDED: "The venue holds it back from trading.",
        E.DONE_FOR_DAY: "The venue is done with it until the next session.",
        E.CANCELED: "The venue cancelled it.",
        E.EXPIRED: "The venue ended it because its time ran out.",
        E.REJECTED: "The venue refuses it, even if it accepted it before.",
        E.RESTATED: "The venue changed what a resting order asks for, such as after a split.",
        E.BUSTED: "The venue took an execution back.",
        E.CORRECTED: "The venue changed the quantity or price of an execution.",
        E.UNRECOGNISED: "The venue used a status or event word that we do not know.",
        E.FOUND_LIVE: "A look-up that was asked twice saw it open at the venue.",
    }
)

WHY_MEANINGS: Final = MappingProxyType(
    {
        Why.KNOWN: "It stands there already, or the word adds nothing to what we know.",
        Why.LATE: "A word of a stage the order has passed; progress never runs backward.",
        Why.ENDED: "The order has ended; this word was overtaken by the end.",
        Why.ANSWERED: "The venue's own word came first, so the lost answer is no longer missed.",
        Why.UNASKED: "It answers a cancel or replace that is not pending here.",
        Why.PENDING: "A cancel or replace is pending, and its answer decides where the order goes.",
        Why.NO_MEANING: "A word we do not know moves nothing.",
        Why.TERMS: "It changes what the order asks for, not where the order stands.",
        Why.EXECUTIONS: "It changes an execution, not where the order stands.",
        Why.NEVER_SENT: "The venue speaks of an order never sent, and not of where it stands.",
        Why.CONTRADICTED: "The order ended otherwise; its first end stands and a flag is set.",
        Why.NOT_SENT: "Nothing has been sent yet.",
        Why.SENT: "It has been sent: it can be neither sent twice nor denied any more.",
        Why.IN_DOUBT: "The answer to the sending is not known yet; it must be had first.",
        Why.NOT_IN_DOUBT: "Only an order whose outcome is unknown is sent again or given up.",
        Why.VENUE_REFUSES: "An order that stands so is not replaced; the venue would refuse it.",
        Why.OVER: "The order has ended.",
    }
)
