"""The schema in the docs is the one that the migrations make."""

from mercato.control.migrate import migrate
from scripts import write_docs


def test_the_drawn_schema_is_what_the_migrations_make(empty_database_url: str) -> None:
    migrate(empty_database_url)
    kept = (write_docs.DOCS / "schema.sql").read_text()
    assert write_docs.dumped(empty_database_url) == kept, "run `make docs`"
