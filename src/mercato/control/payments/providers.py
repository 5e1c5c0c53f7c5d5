"""Which payment providers a market has."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from mercato.control.payments.manual import Manual
from mercato.control.payments.provider import Ask, NoAnswer, Outcome, Provider


@dataclass(frozen=True, slots=True)
class Providers:
    """Every provider by name, as payments that were begun keep theirs, and the one for new ones."""

    by_name: Mapping[str, Provider]
    preferred: str

    def ask(self, name: str, ask: Ask, *, makes: bool) -> Outcome:
        """Have a provider make a payment, or look what became of it.

        Raises:
            NoAnswer: when nobody knows what became of it.
        """
        provider = self.by_name.get(name)
        if provider is None:
            raise NoAnswer(f"This market no longer pays through {name!r}; set it up again.")
        return provider.make(ask) if makes else provider.look(ask)


BY_HAND: Final = Providers({"manual": Manual()}, "manual")
