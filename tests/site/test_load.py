"""Every mistake in a site file names the file, the table and the key, and what was probably meant."""

from __future__ import annotations

import os

import pytest

from psiflow_cli.errors import BAD_CONFIG, BadConfig
from psiflow_cli.site import load
from tests.site.sites import SITE


def parse(tmp_path, text):
    path = tmp_path / "mine.toml"
    path.write_text(text)
    return load.parse(path)


def test_a_whole_file_is_read(tmp_path):
    site = parse(tmp_path, SITE)
    assert site.description == "for tests"
    assert site.executors["default"].type == "htex"
    assert site.resources["big"].walltime == "2h"
    assert site.executor_for("cp2k", "label") == "reference"
    assert site.executor_for("cp2k", "train") == "default"
    assert site.executor_for("mace", "evaluate") == "default"
    assert site.defaults["label"] == {"reference": "emt"}


def test_a_family_may_name_one_executor_for_all(tmp_path):
    site = parse(tmp_path, SITE.replace("cp2k.label", "cp2k"))
    assert site.executor_for("cp2k", "label") == site.executor_for("cp2k", "train") == "reference"


def test_the_shipped_files_hold(root):
    shipped = sorted((root / "site.d").glob("*.toml"))
    assert shipped
    for path in shipped:
        assert load.parse(path).description


@pytest.mark.parametrize(
    ("old", "new", "place", "hint"),
    [
        # unknown keys, with the nearest that is known
        ("walltime =", "waltime =", "[resources.big] waltime: unknown key", "'walltime'"),
        ("description", "descrption", " descrption: unknown key", "'description'"),
        ("[executors.default]", "[executor.default]", " executor: unknown key", "'executors'"),
        ('environment = "own"', 'enviroment = "own"', "[executors.reference] enviroment: unknown key", "'environment'"),
        ('type = "local"', 'partition = "gpu"', "[providers.here] partition: unknown key", "type"),
        ('prefix = ""', 'prefx = ""', "[environments.own] prefx: unknown key", "'prefix'"),
        ("[use]", "[run]\ncaches = false\n[use]", "[run] caches: unknown key", "'cache'"),
        ("[use]", "[run.retries]\nworkerlost = 1\n[use]", "[run.retries] workerlost: unknown key", "'worker-lost'"),
        ("[use]", "[run.retries]\ntimeout = -1\n[use]", "[run.retries] timeout: expected a whole number", ""),
        ("[use]", '[run]\nstrategy = "simpel"\n[use]', "[run] strategy: unknown value 'simpel'", "'simple'"),
        ("[use]", '[run]\nfirst_worker = "soon"\n[use]', "[run] first_worker: ", "2 min"),
        # wrong types; the first [resources] has the same key with a good value
        ("cores = 2", 'cores = "most"', "[resources.big] cores: unknown value 'most'", "all"),
        ("cores = 2", "cores = 1.5", "[resources.big] cores: expected a whole number or text, got a number", ""),
        ("cores = 2", "cores = 0", "[resources.big] cores: expected a whole number of at least 1", ""),
        ("ranks = 2", "ranks = true", "[resources.big] ranks: expected a whole number, got true or false", ""),
        ("ranks = 2", "gpus = -1", "[resources.big] gpus: expected a whole number of at least 0", ""),
        ("ranks = 2", "env = { A = 1 }", "[resources.big] env: expected text, got a whole number", ""),
        ('memory = "2 GB"', "memory = 15", "[resources.big] memory: expected text, got a whole number", "15 GB"),
        ("ranks = 2", 'device = "gpu"', "[resources.big] device: unknown value 'gpu'", "cuda"),
        ("ranks = 2", 'dtype = "float46"', "[resources.big] dtype: unknown value 'float46'", "'float64'"),
        ('type = "htex"', 'type = "htx"', "[executors.reference] type: unknown value 'htx'", "'htex'"),
        ('type = "htex"', "tasks_per_node = 0", "[executors.reference] tasks_per_node: expected", ""),
        ('type = "local"', "nodes = 0", "[providers.here] nodes: expected a whole number of at least 1", ""),
        ('type = "local"', 'worker_init = "ls"', "[providers.here] worker_init: expected a list, got text", ""),
        ('cp2k.label = "reference"', "cp2k = 3", " use: expected text or table, got a whole number", ""),
        # amounts
        ('"2h"', '"soon"', "[resources.big] walltime: 'soon'", "12:00:00"),
        ('"2h"', "7200", "[resources.big] walltime: expected text, got a whole number", "quoted"),
        ('"2h"', "02:00:00", "[resources.big] walltime: expected text, got time", "quoted"),
        ('"2 GB"', '"lots"', "[resources.big] memory: 'lots'", "4 GB"),
        ('"2 GB"', '"2000"', "[resources.big] memory: '2000'", "4 GB"),
        ("[use]", '[remote]\nhost = "tier1"\nfolder = "/x"\nreconnect = "soon"\n[use]', "[remote] reconnect:", "2 min"),
        ("[use]", '[remote]\nhost = "-oX=y"\nfolder = "/x"\n[use]', "[remote] host: not a name", "as `ssh` takes it"),
        ("[use]", '[remote]\nhost = "tier1"\n[use]', "[remote] folder: required, but missing", ""),
        ("[use]", '[remote]\nhots = "tier1"\n[use]', "[remote] hots: unknown key", "'host'"),
        # names of nothing
        ('t = "own"', 't = "owm"', "[executors.reference] environment: there is no 'owm'", "'own'"),
        ('resources = "big"', 'resources = "bgi"', "[executors.reference] resources: there is no 'bgi'", "'big'"),
        ('provider = "here"', 'provider = "her"', "[executors.default] provider: there is no 'her'", "'here'"),
        ('default = "default"', 'default = "defaut"', "[use] default: there is no 'defaut'", "'default'"),
        ('"reference"\n\n[', '"refrence"\n\n[', "[use] cp2k.label: there is no 'refrence'", "'reference'"),
        ("cp2k.label", "cp2k.lable", "[use] cp2k.lable: no such operation", "'label'"),
        # what must be there
        ('provider = "here"\nresources = "big"', 'resources = "big"', "", ""),
        ('default = "default"\n', "", "[use] default: required, but missing", "executor"),
        ('resources = "task"', "", "[executors.default] resources: required, but missing", ""),
    ],
)  # fmt: skip
def test_mistakes(tmp_path, old, new, place, hint):
    if not place:  # the row above it in the file
        old, new = 'provider = "here"\nenvironment', "environment"
        place = "[executors.reference] provider: required, but missing"
    assert old in SITE
    with pytest.raises(BadConfig) as caught:
        parse(tmp_path, SITE.replace(old, new, 1))
    assert caught.value.message.startswith(f"{tmp_path / 'mine.toml'}: {place.strip()}")
    assert hint in caught.value.hint
    assert caught.value.hint, "every mistake has a hint"
    assert "`" not in caught.value.message, "msgspec's own words"
    assert caught.value.exit_code == BAD_CONFIG


@pytest.mark.parametrize(
    ("old", "new", "line", "hint"),
    [
        ("[resources.task]", "[resources.task", 9, "head of a table"),
        ("cores = 1\n", "cores =\n", 10, "missing"),
        ("cores = 1\n", "cores = 1\ncores = 2\n", 11, "twice"),
        ('"2h"', "24:00:00", 17, "quote durations"),
        ('"2h"', "1-12:00:00", 17, "quote durations"),
        ('"2h"', '"2h', 17, "quotation mark"),
        ('reference = "emt"\n', 'reference = """emt\n', 34, "not closed"),
    ],
)
def test_syntax_errors_have_their_line(tmp_path, old, new, line, hint):
    text = SITE.replace(old, new, 1)
    with pytest.raises(BadConfig) as caught:
        parse(tmp_path, text)
    assert caught.value.message.startswith(f"{tmp_path / 'mine.toml'}:{line}: not valid TOML: ")
    assert hint in caught.value.hint


def test_words_may_be_in_capitals_and_a_mistake_has_its_line(tmp_path):
    loud = SITE.replace("[resources.task]", '[resources.task]\ndevice = "CUDA"\ndtype = "Float32"', 1)
    site = parse(tmp_path, loud.replace('type = "htex"', 'type = "HTEX"'))
    assert (site.resources["task"].device, site.resources["task"].dtype) == ("cuda", "float32")
    assert site.executors["default"].type == "htex"
    with pytest.raises(BadConfig) as caught:
        parse(tmp_path, loud.replace("CUDA", "cudda"))
    line = loud.splitlines().index('device = "CUDA"') + 1
    assert caught.value.message.endswith(f"(line {line})")


def test_what_is_no_text(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_bytes(b'description = "\xff"\n')
    with pytest.raises(BadConfig, match="UTF-8"):
        load.parse(path)


def test_names_are_looked_up_near_first(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    shipped = load.find("local")
    assert shipped.is_absolute()
    places = [tmp_path / "config" / "psiflow" / "site.d", tmp_path, tmp_path / "site.d"]
    for place in places:  # from the farthest to the nearest
        place.mkdir(parents=True, exist_ok=True)
        (place / "local.toml").write_text(SITE)
        assert load.find("local").absolute() == place / "local.toml"
        assert load.find("local.toml").absolute() == place / "local.toml"
    assert load.available()["local"].absolute() == tmp_path / "site.d" / "local.toml"
    assert load.find(f".{os.sep}local.toml").absolute() == tmp_path / "local.toml"


def test_a_stray_file_is_no_site(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "local").write_text("a note")
    assert load.find("local").suffix == ".toml"


def test_a_name_of_nothing(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(BadConfig) as caught:
        load.find("lokal.toml")
    assert "'local'" in caught.value.hint
    with pytest.raises(BadConfig, match="no such site file"):
        load.find("./lokal.toml")


def test_without_a_home(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("HOME", "XDG_CONFIG_HOME"):
        monkeypatch.delenv(name, raising=False)
    assert load.find("local").is_file()
