"""Every file that says what the course needs and who may use it says the same: one environment, however installed."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from packaging.markers import default_environment
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parent.parent
EXTRAS = ("cpu", "gpu")
PYTHONS = ("3.11", "3.12", "3.13")
PLATFORMS = {
    "linux-x86_64": {"sys_platform": "linux", "platform_machine": "x86_64", "platform_system": "Linux"},
    "linux-aarch64": {"sys_platform": "linux", "platform_machine": "aarch64", "platform_system": "Linux"},
    "darwin-arm64": {"sys_platform": "darwin", "platform_machine": "arm64", "platform_system": "Darwin"},
    "win32-AMD64": {"sys_platform": "win32", "platform_machine": "AMD64", "platform_system": "Windows"},
}
TENSORFLOW = re.compile(r"(tf-nightly|tensorflow)(-(cpu|gpu|intel|macos|rocm|cpu-aws))?")
COMMENT = re.compile(r"(all chapters|chapters? (?P<chapters>\d\d(, \d\d)*)|make (?P<target>[a-z]+))(:|$)")


def _read(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def _project() -> dict[str, Any]:
    return tomllib.loads(_read("pyproject.toml"))["project"]


def _direct(extra: str) -> list[Requirement]:
    """Return what pyproject.toml itself asks for: the base, one TensorFlow extra, and ``dev``."""
    project = _project()
    extras = project["optional-dependencies"]
    return [Requirement(line) for line in [*project["dependencies"], *extras[extra], *extras["dev"]]]


def _locked_lines(extra: str) -> list[str]:
    """Return the lines of a requirement file, without comments, each requirement joined with its hashes."""
    text = re.sub(r"(?m)^\s*#.*\n", "", _read(f"requirements/{extra}.txt"))
    return [line for line in text.replace("\\\n", " ").splitlines() if line.strip()]


def _locked(extra: str) -> list[Requirement]:
    return [Requirement(line.split("--hash=")[0].strip()) for line in _locked_lines(extra)]


def _conda() -> dict[str, Any]:
    return yaml.safe_load(_read("environment.yml"))


def _conda_pip() -> list[str]:
    """Return the entries of environment.yml that pip installs."""
    [section] = [entry for entry in _conda()["dependencies"] if isinstance(entry, dict)]
    return section["pip"]


def _conda_requirements() -> list[Requirement]:
    return [Requirement(entry) for entry in _conda_pip() if entry != "-e ."]


def _environment(platform: str, python: str) -> dict[str, str]:
    """Return the marker environment of CPython on a platform, whatever this test runs on."""
    posix = PLATFORMS[platform]["sys_platform"] != "win32"
    return {
        **default_environment(),
        **PLATFORMS[platform],
        "os_name": "posix" if posix else "nt",
        "implementation_name": "cpython",
        "platform_python_implementation": "CPython",
        "python_version": python,
        "python_full_version": f"{python}.0",
        "implementation_version": f"{python}.0",
    }


def _applying(requirements: list[Requirement], platform: str, python: str) -> list[Requirement]:
    environment = _environment(platform, python)
    return [r for r in requirements if r.marker is None or r.marker.evaluate(environment)]


def _described(requirements: list[Requirement]) -> list[str]:
    """Return requirements in one spelling, sorted, so that a list can be compared with another."""
    return sorted(f"{canonicalize_name(r.name)}{sorted(r.extras)}{r.specifier}; {r.marker}" for r in requirements)


def _minor_versions(specifier: SpecifierSet) -> list[str]:
    return [f"3.{minor}" for minor in range(30) if f"3.{minor}.5" in specifier]


def _commented_entries(text: str) -> Iterator[tuple[str, str]]:
    """Yield each package line of environment.yml's dependencies with its comment, which is empty where none stands."""
    lines = text.partition("\ndependencies:\n")[2].splitlines()
    for line in lines:
        entry, _, comment = line.strip().partition("  # ")
        if entry.startswith("- ") and not entry.endswith(":"):
            yield entry.removeprefix("- "), comment


def test_direct_requirements_are_exact() -> None:
    loose = [str(r) for e in EXTRAS for r in _direct(e) if not re.fullmatch(r"==[0-9][0-9a-z.]*", str(r.specifier))]
    assert not loose, f"pyproject.toml does not give one exact version of {loose}"


def test_conda_lists_what_pyproject_lists() -> None:
    assert _described(_conda_requirements()) == _described(_direct("cpu"))


def test_conda_ends_by_installing_the_course() -> None:
    conda = _conda()
    assert conda["name"] == _project()["name"]
    assert conda["channels"][0] == "conda-forge"
    assert _conda_pip()[-1] == "-e ."


def test_conda_python_is_one_that_the_course_supports() -> None:
    pythons = [entry for entry in _conda()["dependencies"] if isinstance(entry, str) and entry.startswith("python=")]
    assert pythons == ["python=3.12"]
    assert "3.12" in PYTHONS


def test_conda_says_who_needs_each_package() -> None:
    targets = re.findall(r"(?m)^([a-z]+):", _read("Makefile"))
    entries = list(_commented_entries(_read("environment.yml")))
    listed = [e for e in _conda()["dependencies"] if isinstance(e, str)] + _conda_pip()
    assert [entry for entry, _ in entries] == listed
    for entry, comment in entries:
        who = COMMENT.match(comment)
        assert who, f"{entry}: the comment {comment!r} names neither chapters nor a target of the Makefile"
        assert all(int(chapter) <= 10 for chapter in re.findall(r"\d\d", who["chapters"] or "")), f"{entry}: {comment}"
        assert who["target"] is None or who["target"] in targets, f"{entry}: the Makefile has no `make {who['target']}`"


@pytest.mark.parametrize("python", PYTHONS)
@pytest.mark.parametrize("platform", PLATFORMS)
@pytest.mark.parametrize("extra", EXTRAS)
def test_locks_hold_the_direct_versions(extra: str, platform: str, python: str) -> None:
    locked = {(canonicalize_name(r.name), str(r.specifier)) for r in _applying(_locked(extra), platform, python)}
    direct = {(canonicalize_name(r.name), str(r.specifier)) for r in _applying(_direct(extra), platform, python)}
    assert direct - locked == set(), f"run `make lock`: requirements/{extra}.txt was made from another pyproject.toml"


@pytest.mark.parametrize("python", PYTHONS)
@pytest.mark.parametrize("platform", PLATFORMS)
@pytest.mark.parametrize("extra", EXTRAS)
def test_locks_hold_one_version_of_each_package(extra: str, platform: str, python: str) -> None:
    names = [canonicalize_name(r.name) for r in _applying(_locked(extra), platform, python)]
    assert sorted(names) == sorted(set(names))


@pytest.mark.parametrize("extra", EXTRAS)
def test_locks_name_no_host_path_or_index(extra: str) -> None:
    text = _read(f"requirements/{extra}.txt")
    options = [line for line in _locked_lines(extra) if line.startswith("-")]
    assert not options, f"options in requirements/{extra}.txt: {options}"
    assert not re.findall(r".*(?:[/@]|\\(?!\n)).*", text), "a URL or a path"
    assert not re.findall(r"\b[a-z][a-z0-9-]*\.[a-z]{2,}\b", text), "the name of a host"


@pytest.mark.parametrize("extra", EXTRAS)
def test_every_locked_requirement_is_exact_and_has_hashes(extra: str) -> None:
    lines = _locked_lines(extra)
    assert len(lines) > len(_direct(extra)), "a lock holds what the direct requirements need, too"
    for line in lines:
        requirement, *hashes = line.split("--hash=")
        assert re.fullmatch(r"==[0-9][0-9a-z.+!]*", str(Requirement(requirement.strip()).specifier)), line[:80]
        assert hashes, f"no hash: {line[:80]}"
        assert all(re.fullmatch(r"sha256:[0-9a-f]{64}", h.strip()) for h in hashes), f"not a SHA-256: {line[:80]}"


@pytest.mark.parametrize("python", PYTHONS)
@pytest.mark.parametrize("platform", PLATFORMS)
def test_exactly_one_tensorflow_applies(platform: str, python: str) -> None:
    sources = {f"pyproject.toml, {extra}": _direct(extra) for extra in EXTRAS}
    sources |= {f"requirements/{extra}.txt": _locked(extra) for extra in EXTRAS}
    sources["environment.yml"] = _conda_requirements()
    found = {
        source: [r.name for r in _applying(requirements, platform, python) if TENSORFLOW.fullmatch(r.name)]
        for source, requirements in sources.items()
    }
    plain = "tensorflow-cpu" if platform == "linux-x86_64" else "tensorflow"
    assert found == {source: ["tensorflow" if "gpu" in source else plain] for source in sources}


def test_every_file_supports_the_same_pythons() -> None:
    makefile = re.search(r"\((\d+), (\d+)\) <= v <= \((\d+), (\d+)\)", _read("Makefile"))
    ci = re.search(r"\((\d+), (\d+)\) <= sys\.version_info\[:2\] <= \((\d+), (\d+)\)", _read(".ci/run"))
    assert makefile
    assert ci
    assert tuple(_minor_versions(SpecifierSet(_project()["requires-python"]))) == PYTHONS
    for check in (makefile, ci):
        assert check.groups() == ("3", PYTHONS[0].removeprefix("3."), "3", PYTHONS[-1].removeprefix("3."))
    [job] = yaml.safe_load(_read(".github/workflows/ci.yml"))["jobs"].values()
    assert tuple(job["strategy"]["matrix"]["python-version"]) == PYTHONS
    [candidates] = re.findall(r"(?m)^for python in (.*) none; do$", _read(".ci/run"))
    assert candidates.split() == ["python3", *(f"python{version}" for version in PYTHONS)]


def test_citation_agrees_with_the_project() -> None:
    citation, project = yaml.safe_load(_read("CITATION.cff")), _project()
    assert citation["cff-version"] == "1.2.0"
    assert citation["title"] == "From LeNet-5 to AlexNet: a course in which every claim is an experiment"
    assert citation["message"]
    assert citation["authors"] == [{"name": "The course authors"}]
    assert citation["version"] == project["version"]
    assert citation["license"] == project["license"]


def test_licences_are_the_ones_that_are_named() -> None:
    project, [author] = _project(), yaml.safe_load(_read("CITATION.cff"))["authors"]
    assert project["license-files"] == ["LICENSE"]
    assert _read("LICENSE").startswith(f"{project['license']} License\n\nCopyright (c) 2026 {author['name']}\n")
    text = " ".join(_read("LICENSE").split())
    assert "Permission is hereby granted, free of charge" in text
    assert text.endswith("OTHER DEALINGS IN THE SOFTWARE.")
    prose = _read("LICENSE-TEXT")
    assert "https://creativecommons.org/licenses/by/4.0/" in prose
    sections = re.findall(r"(?m)^Section (\d) -- .+\.$", prose)
    assert sections == list("12345678"), "the legal text of CC BY 4.0 has eight sections"
