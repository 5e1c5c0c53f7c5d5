"""Declared hardware."""

from pathlib import Path

import pytest

from mercato.agent.facts.models import canonical_name
from mercato.agent.hardware_file import BadHardwareFile, read_hardware_file
from mercato.market.hardware import Hardware, Network

REACHED = Network(public_ip="192.0.2.1", port_first=40_000, port_last=40_099)


def declared(tmp_path: Path, text: str) -> Hardware:
    path = tmp_path / "machine.toml"
    path.write_text(text)
    return read_hardware_file(path, REACHED)


def test_a_known_model_and_a_count_are_enough(tmp_path: Path) -> None:
    machine = declared(tmp_path, '[gpu]\nmodel = "RTX_4090"\ncount = 4\n')
    assert machine.simulated
    assert machine.gpu_model.name == "RTX 4090"
    assert machine.gpu_model.ram_mb == 24_576
    assert [gpu.uuid for gpu in machine.gpus] == [f"PRETEND-{n}" for n in range(4)]
    assert machine.dlperf > 4 * 21
    assert machine.network.public_ip == "192.0.2.1"
    assert machine.network.port_last == 40_099


def test_the_recipes_example_is_a_machine() -> None:
    recipe = Path("docs/recipes/declare-hardware.md").read_text()
    example = recipe.partition("```toml\n")[2].partition("```")[0]
    path = Path("docs/recipes/h100.toml")
    assert str(path.name) in recipe
    assert path.read_text() == example
    machine = read_hardware_file(path, REACHED)
    assert machine.gpu_model.name == "H100 SXM"
    assert machine.reliability == 0.995
    assert machine.place.country == "DE"


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ('[gpu]\nmodel = "RTX 4090"\ncont = 4\n', r"\[gpu\] has no `cont`; did you mean `count`"),
        ('[gpu]\nmodel = "RTX 4090"\n', "missing required field `count`"),
        ('[gpu]\nmodel = "RTX 4090"\ncount = "4"\n', r"Expected `int`, got `str` - at `\$.gpu"),
        ('[gpu]\nmodel = "RTX 4090"\ncount = 0\n', "gpu.count must be from 1 to 64"),
        ('[gpu]\nmodel = "Own"\ncount = 1\n', "needs gpu.ram_gb; known are"),
        ("[gpu\n", "is not TOML"),
        ('[disc]\n[gpu]\nmodel = "RTX 4090"\ncount = 1\n', "did you mean `disk`"),
        (
            '[gpu]\nmodel = "RTX 4090"\ncount = 1\n[location]\ncountry = "Germany"\n',
            "two capital letters",
        ),
        *(
            (f'[gpu]\nmodel = "RTX 4090"\ncount = 1\n[network]\n{ports}\n', "must be a range")
            for ports in ("port_first = 0", "port_first = 40100", "port_last = 65536")
        ),
    ],
)
def test_a_mistake_is_explained(tmp_path: Path, text: str, complaint: str) -> None:
    with pytest.raises(BadHardwareFile, match=complaint):
        declared(tmp_path, text)


def test_a_missing_file_is_explained(tmp_path: Path) -> None:
    with pytest.raises(BadHardwareFile, match="cannot be read: No such file"):
        read_hardware_file(tmp_path / "none.toml", REACHED)


@pytest.mark.parametrize(
    ("reported", "name"),
    [
        ("NVIDIA GeForce RTX 4090", "RTX 4090"),
        ("NVIDIA H100 80GB HBM3", "H100 SXM"),
        ("NVIDIA A100-SXM4-80GB", "A100 SXM4"),
        ("NVIDIA A100 80GB PCIe", "A100 PCIE"),
        ("Tesla V100-SXM2-16GB", "Tesla V100"),
        ("NVIDIA RTX A6000", "RTX A6000"),
        ("NVIDIA L40S", "L40S"),
        ("NVIDIA H200", "H200"),
    ],
)
def test_models_have_their_names_of_the_trade(reported: str, name: str) -> None:
    assert canonical_name(reported) == name
