"""How amounts, times, logs and addresses are written."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mercato.cli.billing import folded, lines
from mercato.cli.errors import Trouble
from mercato.cli.inside import fresh, ssh_command
from mercato.cli.keys import public_key
from mercato.cli.text import HIDDEN, money, number, printable, shown, shown_options, span
from mercato.sdk.shapes import Charge, Instance


@pytest.mark.parametrize(
    ("dollars", "text"),
    [
        (None, "-"),
        (0, "$0.0000"),
        (0.000123, "$0.000123"),
        (0.25, "$0.2500"),
        (1234.5, "$1,234.50"),
        (-3, "-$3.0000"),
    ],
)
def test_money_has_as_many_digits_as_it_takes(dollars: float | None, text: str) -> None:
    assert money(dollars) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (None, "-"),
        (0, "0s"),
        (59.9, "59s"),
        (60, "1m"),
        (3_725, "1h 2m"),
        (90_000, "1d 1h"),
        (-5, "0s"),
    ],
)
def test_a_span_has_its_two_largest_units(seconds: float | None, text: str) -> None:
    assert span(seconds) == text


def test_a_number_that_is_not_known_is_a_dash() -> None:
    assert number(None) == "-"
    assert number(1234.56, 1) == "1,234.6"


@pytest.mark.parametrize(
    "name",
    [
        "MASTER_TOKEN",
        "jupyter_token",
        "HF_TOKEN",
        "TOKEN2",
        "AWS_SECRET_ACCESS_KEY",
        "CONTAINER_API_KEY",
        "apikey",
        "DB_PASSWORD",
        "GITHUB_PAT",
    ],
)
def test_what_its_name_calls_a_secret_is_hidden(name: str) -> None:
    assert shown(name, "hush") == HIDDEN
    assert shown(name, "") == ""
    assert shown("extra_env", [["MODE", "train"], [name, "hush"]]) == [
        ["MODE", "train"],
        [name, HIDDEN],
    ]


@pytest.mark.parametrize(
    "name", ["image_uuid", "SSH_PUBLIC_KEY", "ssh_key_ids", "KEYBOARD", "PATH", "WORKER_PORT"]
)
def test_what_is_no_secret_is_shown(name: str) -> None:
    assert shown(name, "text") == "text"


@pytest.mark.parametrize("quoted", ["hush", "'hush hush'", '"hush=hush"', "hush-hush="])
def test_options_are_shown_without_their_secrets(quoted: str) -> None:
    text = f"-p 80:80 -e HF_TOKEN={quoted} --env=API_KEY={quoted} -eKEY={quoted} -e A=1"
    assert shown_options(text) == "-p 80:80 -e HF_TOKEN=*** --env=API_KEY=*** -eKEY=*** -e A=1"


@pytest.mark.parametrize(
    ("text", "seen"),
    [
        ("-e 'HF_TOKEN=hush hush' -p 80:80", "-e HF_TOKEN=*** -p 80:80"),
        (r"-e HF_TOKEN=hush\ hush", "-e HF_TOKEN=***"),
        ("-e HF_TOKEN='hush'\"hush\"hush", "-e HF_TOKEN=***"),
        ("-e HF_TOKEN='hush\nhush'", "-e HF_TOKEN=***"),
        ("-e A='1 2' -e B=3", "-e 'A=1 2' -e B=3"),
        ("-e A=1 -e HF_TOKEN='hush", HIDDEN),
        ("", ""),
    ],
)
def test_no_part_of_a_secret_is_shown(text: str, seen: str) -> None:
    assert shown_options(text) == seen


@given(st.text())
def test_a_terminal_is_given_letters_only(text: str) -> None:
    def is_shown(letter: str) -> bool:
        return letter.isprintable() or letter.isspace() or letter == "\u200d"

    seen = printable(text)
    assert all(map(is_shown, seen))
    assert not set(seen) & set("\x1b\r\x07\x0b\x0c\x1c\x85\u2028\u2029\u202e")
    assert seen == text or not all(each.isprintable() for each in text)


@pytest.mark.parametrize("text", ["日本語\u3000名前", "x\xa0y", "👩\u200d💻", "a\tb\n"])
def test_what_people_write_stays_as_it_is(text: str) -> None:
    assert printable(text) == text


@given(st.lists(st.integers(), unique=True), st.data())
def test_following_a_log_shows_each_line_once(numbers: list[int], data: st.DataObject) -> None:
    lines = [str(each) for each in numbers]
    seen_to = data.draw(st.integers(0, len(lines)))
    seen = lines[:seen_to]
    tail = data.draw(st.integers(0, seen_to))
    assert list(fresh(seen, lines[seen_to - tail :])) == (
        lines[seen_to:] if tail or not seen else lines[seen_to - tail :]
    )


def _instance(**more: object) -> Instance:
    fields: dict[str, object] = {
        "id": 7,
        "actual_status": "running",
        "public_ipaddr": "10.0.0.5",
        "ports": {"22/tcp": [{"HostIp": "0.0.0.0", "HostPort": "40012"}]},
        "start_date": 1_700_000_000.5,
    }
    import msgspec

    return msgspec.convert(fields | more, Instance)


def test_the_ssh_program_gets_host_port_key_and_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    program = ssh_command("http://127.0.0.1:8400", _instance(), ["nvidia-smi"], Path("/k"))
    assert program[0] == "ssh"
    assert program[-2:] == ["root@10.0.0.5", "nvidia-smi"]
    assert program[program.index("-p") + 1] == "40012"
    assert program[program.index("-i") + 1] == "/k"
    other = ssh_command("http://127.0.0.1:8400", _instance(id=8), [])
    aliases = {each for each in program + other if each.startswith("HostKeyAlias")}
    assert len(aliases) == 2, "another instance at the same address has another host key"


def test_an_instance_behind_a_proxy_is_reached_there() -> None:
    proxied: dict[str, object] = {
        "ports": {},
        "public_ipaddr": None,
        "ssh_host": "ssh.example.com",
        "ssh_port": 20_000,
    }
    assert _instance(**proxied).door() == ("ssh.example.com", 20_000)
    jupyter = _instance(**proxied, image_runtype="jupyter_proxy ssh_proxy")
    assert jupyter.door() == ("ssh.example.com", 20_001)


def test_an_instance_without_a_door_says_what_it_is_doing() -> None:
    loading = _instance(ports=None, actual_status="loading")
    with pytest.raises(Trouble, match="loading"):
        ssh_command("http://x", loading, [])
    failed = _instance(ports=None, actual_status="created", state="failed")
    with pytest.raises(Trouble, match="failed"):
        ssh_command("http://x", failed, [])


def test_a_public_key_is_given_or_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    with pytest.raises(Trouble, match="ssh-keygen"):
        public_key(None)
    (tmp_path / ".ssh").mkdir()
    (tmp_path / ".ssh" / "id_ed25519.pub").write_text("ssh-ed25519 AAAA me\n")
    assert public_key(None) == "ssh-ed25519 AAAA me"
    assert public_key(" ssh-rsa BBBB ") == "ssh-rsa BBBB"
    with pytest.raises(Trouble, match="nowhere"):
        public_key(str(tmp_path / "nowhere"))
    (tmp_path / "binary").write_bytes(b"\xff\xfe\x00")
    for unreadable in (tmp_path / "binary", tmp_path, "A" * 5_000):
        with pytest.raises(Trouble, match=r"no public key|cannot read"):
            public_key(str(unreadable))


def test_a_bill_has_one_line_a_kind_and_the_same_sum() -> None:
    def part(kind: str, amount: float, start: float) -> Charge:
        return Charge(type=kind, amount=amount, start=start, end=start + 1)

    whole = Charge(items=[part("gpu", 1.0, 0), *(part("bwu", 0.25, at) for at in (5, 3, 4))])
    [shown] = folded([whole])
    assert [(each.type, each.amount, each.start, each.end) for each in shown.items] == [
        ("gpu", 1.0, 0, 1),
        ("bwu", 0.75, 3, 6),
    ]
    assert len(lines([whole])) == 5
