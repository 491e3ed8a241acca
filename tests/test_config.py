from pathlib import Path

import pytest
import yaml

from wsi_pipeline.config import Config, as_config, load_config
from wsi_pipeline.errors import ConfigError

CONFIGS = Path(__file__).parents[1] / "configs"


@pytest.mark.parametrize("path", sorted(CONFIGS.glob("*.yaml")), ids=lambda path: path.name)
def test_every_shipped_configuration_loads(path: Path) -> None:
    assert isinstance(load_config(path), Config)


def test_default_yaml_states_the_built_in_defaults() -> None:
    assert load_config(CONFIGS / "default.yaml") == Config()


def test_default_yaml_names_every_key() -> None:
    written = yaml.safe_load((CONFIGS / "default.yaml").read_text())
    assert written == Config().model_dump()


def test_a_typo_is_refused_with_the_nearest_key(tmp_path: Path) -> None:
    path = tmp_path / "c.yaml"
    path.write_text("regions:\n  treshold: 0.3\n")
    with pytest.raises(ConfigError, match=r"regions\.treshold; did you mean threshold\?"):
        load_config(path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("regions: {threshold: 1.5}", r"regions\.threshold is 1\.5"),
        ("stain: {method: foo}", r"stain\.method is 'foo'"),
        ("- a\n- b", "holds list"),
        ("a: [", "not YAML"),
        ("tisue: {}", "did you mean tissue"),
        ("tisue:\n  # min_tissue_share: 0.2", "did you mean tissue"),
        ("execution: {workers: -1}", r"execution\.workers is -1"),
    ],
)
def test_bad_values_are_named(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "c.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=message):
        load_config(path)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read"):
        load_config(tmp_path / "none.yaml")


def test_options_stand_above_the_file(tmp_path: Path) -> None:
    path = tmp_path / "c.yaml"
    path.write_text("regions:\n  threshold: 0.3\n  min_area_mm2: 1\n")
    config = load_config(path, {"regions": {"threshold": 0.7, "low_share": None}})
    assert config.regions.threshold == 0.7
    assert config.regions.min_area_mm2 == 1
    assert config.regions.low_share == Config().regions.low_share


def test_an_empty_section_is_the_default(tmp_path: Path) -> None:
    path = tmp_path / "c.yaml"
    path.write_text("regions:\n  # threshold: 0.3\n")
    assert load_config(path) == Config()


def test_the_map_checksum_ignores_how_it_is_computed_and_drawn() -> None:
    plain = Config().map_sha256("abc")
    assert load_config(None, {"execution": {"workers": 7}}).map_sha256("abc") == plain
    assert load_config(None, {"regions": {"threshold": 0.9}}).map_sha256("abc") == plain
    assert load_config(None, {"tiling": {"stride_px": 25}}).map_sha256("abc") != plain
    assert load_config(None, {"inference": {"tta": True}}).map_sha256("abc") != plain
    assert Config().map_sha256("abd") != plain


def test_from_python_a_mapping_a_path_or_nothing_will_do() -> None:
    dense = as_config({"tiling": {"stride_px": 25}})
    assert dense.tiling.stride_px == 25
    assert as_config(dense) is dense
    assert as_config(None) == Config()
    assert as_config(str(CONFIGS / "dense.yaml")) == as_config(CONFIGS / "dense.yaml")


def test_anything_else_is_answered_with_what_to_pass() -> None:
    with pytest.raises(ConfigError, match=r"config is a int\. Pass the path of a YAML file"):
        as_config(25)  # type: ignore[arg-type]


def test_a_wrong_key_of_a_mapping_is_named() -> None:
    with pytest.raises(ConfigError, match=r"unknown key tiling\.stride; did you mean stride_px"):
        as_config({"tiling": {"stride": 25}})


@pytest.mark.parametrize("empty", [{}, {"threshold": None}])
def test_a_wrong_section_of_a_mapping_is_named_though_it_says_nothing(empty: object) -> None:
    with pytest.raises(ConfigError, match=r"unknown key region; did you mean regions\? Every key"):
        as_config({"region": empty})
    assert as_config({"regions": empty}) == Config()
