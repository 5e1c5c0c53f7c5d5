"""The loop that posts notices."""

from concurrent.futures import ThreadPoolExecutor
from typing import Final

from mercato.control.db import Database
from mercato.control.flows import noticing
from mercato.control.flows.house import House
from mercato.control.loops.loop import Loop, Report
from mercato.control.messenger import Messenger, Unreachable
from mercato.control.store import webhooks
from mercato.market.notice import Answer

AT_ONCE: Final = 8
"""Posted at the same time: one that does not answer keeps seven others from waiting."""
EACH_RUN: Final = 1_000


def webhook_loop(db: Database, house: House) -> Loop:
    """Posts what is due."""
    messenger = Messenger(anywhere=house.rules.webhooks_anywhere)

    def tell(number: int, now_ms: int) -> Answer | None:
        letter = db.run_now(noticing.begin, number, now_ms, house)
        if letter is None:
            return None
        status, problem = None, ""
        try:
            status = messenger.post(letter.url, letter.body, letter.headers)
        except Unreachable as why:
            problem = str(why)
        return db.run_now(noticing.end, number, status, problem, now_ms)

    def run(now_ms: int) -> Report:
        due = db.run_now(webhooks.due, now_ms, EACH_RUN)
        with ThreadPoolExecutor(AT_ONCE) as pool:
            answers = list(pool.map(lambda number: tell(number, now_ms), due))
        return {answer.value: answers.count(answer) for answer in Answer}

    return Loop("webhooks", "Posts notices of what happened to accounts' webhooks.", 10, run)
