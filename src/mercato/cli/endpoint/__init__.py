"""`mercato endpoint`: addresses that scale from zero, their workers, and why they came and went."""

from mercato.cli.endpoint import calling, keeping, watching, whatif
from mercato.cli.endpoint.group import app

__all__ = ["app", "calling", "keeping", "watching", "whatif"]
