"""Score files: each code base's own layout read to the same function, hostile ones refused by name."""

from __future__ import annotations

import contextlib
import io
import os
import pickle
import random
import struct
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from images import sample
from images.bench.peers import randomise
from images.denoisers import layouts, published
from images.denoisers.adm import ADM, ADMConfig
from images.denoisers.precondition import DDPMScore, EDMScore
from images.denoisers.published import load, save
from images.denoisers.song import SongConfig, SongUNet
from images.formats import pickles
from images.scores import main
from tests.image_files import Parameters, edm, edm_bytes, edm_file, guided_diffusion, snapshot_bytes
from theory.common.commandline import run
from theory.common.errors import FileError
from theory.levels import Level, index_level

torch.set_num_threads(1)
CLASSES = 5
TINY_SONG = {
    "img_resolution": 8, "in_channels": 3, "out_channels": 3, "label_dim": CLASSES, "augment_dim": 9,
    "model_channels": 16, "channel_mult": [1, 2], "num_blocks": 1, "attn_resolutions": [4], "dropout": 0.13,
    "channel_mult_noise": 1, "embedding_type": "positional", "encoder_type": "standard", "resample_filter": [1, 1],
}  # fmt: skip
NCSNPP = {
    "channel_mult_noise": 2, "embedding_type": "fourier", "encoder_type": "residual", "resample_filter": [1, 3, 3, 1]
}  # fmt: skip
DHARIWAL = {
    "img_resolution": 8, "in_channels": 3, "out_channels": 3, "label_dim": CLASSES, "augment_dim": 0,
    "model_channels": 64, "channel_mult": [1, 2], "num_blocks": 1, "attn_resolutions": [4],
}  # fmt: skip


@pytest.fixture(scope="module")
def images() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(3)
    return torch.randn(2, 3, 8, 8, generator=generator), torch.tensor([1, 4])


@pytest.fixture(scope="module")
def song_bytes(images: tuple[Tensor, Tensor]) -> bytes:
    state = Parameters()
    y, labels = images
    edm(state, y, torch.ones(2), torch.eye(CLASSES)[labels], "SongUNet", TINY_SONG)
    return edm_bytes("SongUNet", state, TINY_SONG)


@pytest.fixture(scope="module")
def adm_state(images: tuple[Tensor, Tensor]) -> dict[str, Tensor]:
    state = Parameters()
    y, labels = images
    guided_diffusion(state, y, torch.ones(2), labels, width=32, multipliers=(1, 2), blocks=1, attention=(1,), heads=4,
                     legacy=True, out=6, classes=CLASSES)  # fmt: skip
    return dict(state)


def close(a: Tensor, b: Tensor) -> None:
    """Equal up to float32's rounding through some twenty layers."""
    assert b.std() > 0.05  # the comparison means something
    torch.testing.assert_close(a, b, rtol=1e-4, atol=3e-5)


@pytest.mark.parametrize(
    ("like", "options"),
    [
        ("adm-imagenet64", {"width": 64, "heads": None, "legacy": False, "out": 6, "classes": CLASSES}),
        ("adm-imagenet128", {"width": 32, "heads": 4, "legacy": True, "out": 6, "classes": CLASSES}),
        ("adm-bedroom256", {"width": 64, "heads": None, "legacy": True, "out": 6}),
        ("adm-imagenet256", {"width": 64, "heads": None, "legacy": True, "out": 6, "classes": CLASSES}),
        (
            "adm-imagenet512",
            {"width": 128, "heads": None, "legacy": True, "out": 6, "classes": CLASSES, "multipliers": (0.5, 1)},
        ),
        ("edm-imagenet64", {"width": 64, "heads": None, "legacy": False, "out": 3, "classes": CLASSES, "spatial": 2}),
        ("edm-bedroom256", {"width": 64, "heads": None, "legacy": False, "out": 3, "spatial": 2, "scale_shift": False}),
    ],
)
@pytest.mark.parametrize("legacy_file", [False, True])
def test_state_dicts_give_the_function_of_their_code_base(
    like: str, options: dict[str, Any], legacy_file: bool, images: tuple[Tensor, Tensor], tmp_path: Path
) -> None:
    y, labels = images
    known = labels if "classes" in options else None
    ddpm = like.startswith("adm")
    level = index_level("ddpm-cosine" if like == "adm-imagenet64" else "ddpm-linear", 300)
    nsr = float(level.nsr)
    if ddpm:
        inputs, t = y, torch.full((2,), 300.0)  # x_t at the level's own alpha and sigma
    else:
        inputs, t = y / (nsr**2 + 0.25) ** 0.5, torch.full((2,), 250 * torch.tensor(nsr).log().item())
    state = Parameters()
    given = {"multipliers": (1, 2), "blocks": 1, "attention": (1,)} | options
    out = guided_diffusion(state, inputs, t, known, **given)  # type: ignore[arg-type]
    path = tmp_path / "network.pt"
    torch.save(dict(state), path, _use_new_zipfile_serialization=not legacy_file)
    loaded = load(path, like)
    assert loaded.family == ("guided-diffusion" if ddpm else "consistency_models")
    assert loaded.licence == "MIT"
    assert loaded.parameters == sum(value.numel() for value in state.values())
    if ddpm:
        close(loaded.score(y, level, known), out[:, :3])
    else:
        expected = y - (0.25 / (nsr**2 + 0.25) * y + nsr * 0.5 / (nsr**2 + 0.25) ** 0.5 * out)
        close(loaded.score(y, Level.variance_exploding(nsr), known), expected / nsr)


@pytest.mark.parametrize(
    ("kind", "options"), [("SongUNet", TINY_SONG), ("SongUNet", TINY_SONG | NCSNPP), ("DhariwalUNet", DHARIWAL)]
)
def test_edm_pickles_give_edms_function(
    kind: str, options: dict[str, Any], images: tuple[Tensor, Tensor], tmp_path: Path
) -> None:
    y, labels = images
    nsr = 0.7
    t = torch.full((2,), torch.tensor(nsr).log().item() / 4)
    state = Parameters()
    out = edm(state, y / (nsr**2 + 0.25) ** 0.5, t, torch.eye(CLASSES)[labels], kind, options)
    loaded = load(edm_file(tmp_path / "edm.pkl", kind, state, options))
    assert loaded.family == "EDM"
    assert "non-commercial" in loaded.licence
    denoised = 0.25 / (nsr**2 + 0.25) * y + nsr * 0.5 / (nsr**2 + 0.25) ** 0.5 * out
    close(loaded.score.denoise(y, Level.variance_exploding(nsr), labels), denoised)
    assert not any(parameter.requires_grad for parameter in loaded.score.parameters())
    assert not loaded.score.training


def squared_cosine(steps: int) -> np.ndarray:
    """The noise-to-signal ratios u_0 > ... > u_steps = 0 of improved DDPM, by Karras et al. 2022, table 1."""

    def bar(j: int) -> float:
        return float(np.sin(np.pi / 2 * j / steps / 1.008) ** 2)

    u = np.zeros(steps + 1)
    for j in range(steps, 0, -1):
        u[j - 1] = np.sqrt((u[j] ** 2 + 1) / max(bar(j - 1) / bar(j), 0.001) - 1)
    return u


BASELINES = {
    "VPPrecond": {"beta_d": 19.9, "beta_min": 0.1, "M": 1000, "epsilon_t": 1e-5},
    "VEPrecond": {"sigma_min": 0.02, "sigma_max": 100},
    "iDDPMPrecond": {"M": 1000, "C_1": 0.001, "C_2": 0.008},
}


@pytest.mark.parametrize("name", BASELINES)
def test_edms_baselines_give_their_own_denoiser(name: str, images: tuple[Tensor, Tensor], tmp_path: Path) -> None:
    """By the coefficients of Karras et al. 2022, table 1."""
    y, labels = images
    nsr = float(squared_cosine(1000)[600]) if name == "iDDPMPrecond" else 0.7
    root, kind, options = (1 + nsr**2) ** 0.5, "SongUNet", TINY_SONG
    if name == "VPPrecond":
        time = 999 * ((0.01 + 2 * 19.9 * np.log(1 + nsr**2)) ** 0.5 - 0.1) / 19.9
        scale, factor = 1 / root, -nsr
    elif name == "VEPrecond":
        options = TINY_SONG | NCSNPP
        time, scale, factor = np.log(nsr / 2), 1.0, nsr
    else:
        kind, options = "DhariwalUNet", DHARIWAL | {"out_channels": 6}
        time, scale, factor = 999 - 600, 1 / root, -nsr
    state = Parameters()
    t = torch.full((2,), float(time))
    out = edm(state, scale * y, t, torch.eye(CLASSES)[labels], kind, options)
    path = tmp_path / "baseline.pkl"
    path.write_bytes(edm_bytes(kind, state, options, name, BASELINES[name]))
    loaded = load(path)
    close(loaded.score.denoise(y, Level.variance_exploding(nsr), labels), y + factor * out[:, :3])
    save(loaded.score, tmp_path / "ours.pt")
    again = load(tmp_path / "ours.pt").score
    assert again.interval == loaded.score.interval
    level = Level.variance_preserving(nsr)
    assert torch.equal(again(y, level, labels), loaded.score(y, level, labels))


def test_an_unknown_preconditioning_or_schedule_is_named(tmp_path: Path) -> None:
    other = BASELINES["iDDPMPrecond"] | {"C_2": 0.1}
    data = edm_bytes("SongUNet", tiny(), TINY_SONG, "iDDPMPrecond", other)
    assert "iDDPMPrecond of another schedule" in refused(data, tmp_path)
    assert "'NewPrecond' is not known here; known are EDMPrecond" in refused(
        edm_bytes("SongUNet", tiny(), TINY_SONG, "NewPrecond"), tmp_path
    )


def tiny() -> Parameters:
    state = Parameters()
    edm(state, torch.zeros(1, 3, 8, 8), torch.ones(1), torch.eye(CLASSES)[:1], "SongUNet", TINY_SONG)
    return state


@pytest.mark.parametrize(
    ("name", "millions"),  # Dhariwal, Nichol 2021, the sizes of their ADM
    [("adm-imagenet64", 296), ("adm-imagenet128", 422), ("adm-imagenet256", 554), ("adm-imagenet512", 559),
     ("adm-bedroom256", None), ("edm-imagenet64", 296), ("edm-bedroom256", None)],
)  # fmt: skip
def test_each_published_network_is_told_by_the_shapes_of_its_tensors(name: str, millions: int | None) -> None:
    config, family = published.PUBLISHED[name].config, published.PUBLISHED[name].family
    with torch.device("meta"):
        state = ADM(config).state_dict()
    count = sum(x.numel() for x in state.values())
    if millions is not None:
        assert abs(count / 1e6 - millions) < 0.6
    names = layouts.adm_names(config)
    theirs = {f"{names[key.rpartition('.')[0]]}.{key.rpartition('.')[2]}": value for key, value in state.items()}
    shape = layouts.adm_shape(theirs)
    same = [other for other, entry in published.PUBLISHED.items()
            if entry.family == family and published.has_shape(entry.config, shape)]  # fmt: skip
    assert same == [name]


def smart_checkpoint() -> bytes:
    """As SMaRt's authors release generators."""
    state = {"mapping.weight": torch.zeros(500, 2000)}
    models = {"discriminator": state, "generator": state, "generator_smooth": {k: x + 1 for k, x in state.items()}}
    return zipped(
        {"models": models, "model_kwargs_init": {"generator_smooth": {"resolution": 32, "gain": np.float64(1)}}}
    )


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (lambda: snapshot_bytes({"mapping.weight": torch.zeros(2)}),
         "in the layout of StyleGAN2-ADA (G_ema: 'Generator', img_resolution 32, img_channels 3, c_dim 10)"),
        (smart_checkpoint, "as SMaRt's authors release them (models: 'discriminator', 'generator', 'generator_smooth'; "
                           "generator 1.00 M)"),
    ],
)  # fmt: skip
def test_generators_are_told_from_score_models(
    data: Callable[[], bytes], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    message = refused(data(), tmp_path)
    assert said in message
    assert "no score model; wanted: a diffusion checkpoint" in message
    assert run(sample.main, [str(tmp_path / "bad.pkl"), "--out", str(tmp_path / "s.zip")]) == 2
    assert f"{said} is no checkpoint of this version of images.train" in capsys.readouterr().err


@pytest.mark.parametrize("preconditioning", ["edm", "ddpm"])
@pytest.mark.parametrize("network", ["adm", "song"])
def test_our_own_files_come_back_bit_for_bit(
    network: str, preconditioning: str, images: tuple[Tensor, Tensor], tmp_path: Path
) -> None:
    y, labels = images
    unet: ADM | SongUNet
    if network == "adm":
        unet = ADM(ADMConfig(8, width=32, multipliers=(1, 2), blocks=1, attention=(1,), classes=5, head_channels=16))
    else:
        unet = SongUNet(SongConfig(8, width=16, multipliers=(1, 2), blocks=1, classes=5, embedding="fourier"))
    randomise(unet)
    score = EDMScore(unet, 0.4).eval() if preconditioning == "edm" else DDPMScore(unet, "ddpm-cosine").eval()
    save(score, tmp_path / "score.pt")
    loaded = load(tmp_path / "score.pt")
    level = Level.variance_exploding(0.3)
    assert loaded.family == "ours"
    assert torch.equal(loaded.score(y, level, labels), score(y, level, labels))
    assert list(tmp_path.iterdir()) == [tmp_path / "score.pt"]


@pytest.mark.parametrize(
    ("levels", "middle", "said"),
    [((1,), True, "at 4, in the middle"), ((1,), False, "at 4"), ((), True, "in the middle"), ((), False, "none")],
)
def test_where_a_network_attends_is_told(
    levels: tuple[int, ...], middle: bool, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = SongConfig(8, 1, 1, 8, (1, 1), blocks=1, attention=levels, middle_attention=middle, classes=0)
    save(EDMScore(SongUNet(config)), tmp_path / "score.pt")
    assert run(main, [str(tmp_path / "score.pt")]) == 0
    assert f"1 blocks a level, attention: {said}\n" in capsys.readouterr().out


def test_published_files_are_known_by_their_shapes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of tiny networks in the published ones' place, since those weigh gigabytes."""
    config = ADMConfig(8, width=32, multipliers=(1, 2), blocks=1, attention=(1,), classes=CLASSES, heads=4,
                       head_channels=None, channels_out=6)  # fmt: skip
    stand_in = published.Published("guided-diffusion", config, "legacy", "ddpm-linear")
    monkeypatch.setitem(published.PUBLISHED, "adm-imagenet128", stand_in)
    state = Parameters()
    guided_diffusion(state, torch.zeros(1, 3, 8, 8), torch.ones(1), torch.tensor([0]), width=32, multipliers=(1, 2),
                     blocks=1, attention=(1,), heads=4, legacy=True, out=6, classes=CLASSES)  # fmt: skip
    torch.save(dict(state), tmp_path / "a.pt")
    assert load(tmp_path / "a.pt").name == "adm-imagenet128"


class Evil:
    """What a hostile pickle holds: a call of os.system."""

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, ("exit 3",)


class InStorage:
    """A call of os.system in the pickle within a storage's bytes."""

    def __reduce__(self) -> tuple[Any, ...]:
        inner = io.BytesIO()
        torch.save({"a": Evil()}, inner, _use_new_zipfile_serialization=False)
        return torch.storage._load_from_bytes, (inner.getvalue(),)


def refused(data: bytes, tmp_path: Path) -> str:
    """The one line with which a file of these bytes is refused."""
    path = tmp_path / "bad.pkl"
    path.write_bytes(data)
    with pytest.raises(FileError) as caught:
        load(path)
    message = str(caught.value)
    assert message.startswith(str(path))
    assert "\n" not in message
    return message


def legacy(value: object) -> bytes:
    buffer = io.BytesIO()
    torch.save(value, buffer, _use_new_zipfile_serialization=False)
    return buffer.getvalue()


def zipped(value: object) -> bytes:
    buffer = io.BytesIO()
    torch.save(value, buffer)
    return buffer.getvalue()


@pytest.mark.parametrize("write", [lambda evil: edm_bytes("SongUNet", {}, TINY_SONG, ema=evil), pickle.dumps, legacy,
                                   zipped, lambda evil: legacy({"a": torch.zeros(2), "b": evil})])  # fmt: skip
@pytest.mark.parametrize("evil", [Evil(), InStorage()])
def test_code_is_refused_by_its_name_and_not_run(
    write: Callable[[object], bytes], evil: object, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = write(evil)
    monkeypatch.setattr(os, "system", lambda command: pytest.fail("it was run"))
    message = refused(data, tmp_path)
    assert f"{os.name}.system" in message or "torch.storage._load_from_bytes" in message
    if isinstance(evil, InStorage) and b"_load_from_bytes" in data and data.startswith(b"\x80\x04"):
        assert "in the bytes of a storage" in message
        assert f"{os.name}.system" in message


def test_source_in_a_file_is_not_executed(song_bytes: bytes, tmp_path: Path) -> None:
    assert b"os._exit(77)" in song_bytes
    (tmp_path / "edm.pkl").write_bytes(song_bytes)
    load(tmp_path / "edm.pkl")


@pytest.mark.parametrize(
    ("name", "data", "said"),
    [
        ("nested tuples", b"\x80\x04)" + 100_000 * b"\x85" + b".", "nested deeper"),
        ("nested lists", b"\x80\x04" + 100_000 * b"]" + 99_999 * b"a" + b".", "nested deeper"),
        ("nested tuples as a key", b"\x80\x04})" + 200_000 * b"\x85" + b"Ns.", "keys of dictionaries"),
        ("bytes announced", b"\x80\x04\x8e" + struct.pack("<Q", 2**60) + b"abc.", "truncated: 1152921504606846976"),
        ("bytes beyond any", b"\x80\x04\x8e" + struct.pack("<Q", 2**64 - 1) + b"abc.", "truncated or malformed"),
        ("memo far out", b"\x80\x04Nr\xff\xff\xff\xff0j\xfe\xff\xff\xff.", "malformed"),
        ("empty stack", b"\x80\x040.", "malformed"),
        ("no end", b"\x80\x04N", "truncated"),
        ("only a list", b"\x80\x04].", "nor EDM's network 'ema'"),
        ("extension code", b"\x80\x04\x82\x01.", "refused: the pickle instruction EXT1"),
        ("persistent id", b"\x80\x04NQ.", "persistent id"),
        ("instance of a class", b"\x80\x04(cos\nsystem\nV1\no.", "os.system"),
        ("name with a line break", b"\x80\x04\x8c\x03a\nb\x8c\x01c\x93.", "names"),
        ("no pickle", b"hello", "neither"),
        ("nothing", b"", "an empty file"),
        ("an image", b"\x89PNG\r\n\x1a\n" + bytes(100), "neither"),
    ],
)
def test_hostile_pickles_are_refused(name: str, data: bytes, said: str, tmp_path: Path) -> None:
    assert said in refused(data, tmp_path)


def test_endless_pickles_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pickles, "OPERATIONS", 1000)
    assert "more than 1000 operations" in refused(b"\x80\x04" + 1000 * b"N0" + b"N.", tmp_path)


def test_shared_parts_do_not_multiply(tmp_path: Path) -> None:
    """A pickle whose list holds a list twice, that holds a list twice, ...: 2^100 paths, 100 lists."""
    data = b"\x80\x04]\x94" + b"".join(b"](h%ch%ce\x94" % (i, i) for i in range(100)) + b"."
    assert "more than 2000000 parts" in refused(data, tmp_path)


def test_a_tensor_beyond_its_storage_is_refused(song_bytes: bytes, tmp_path: Path) -> None:
    storage = torch.zeros(4)
    data = pickle.dumps(storage)
    assert "a tensor of" in refused(data.replace(b"K\x04\x85", b"K\x05\x85", 1), tmp_path)


@pytest.mark.parametrize("kind", ["edm", "legacy", "zip"])
def test_truncated_and_damaged_files_are_refused(
    kind: str, song_bytes: bytes, adm_state: dict[str, Tensor], tmp_path: Path
) -> None:
    """Cut anywhere: refused. A byte changed: refused, or a file whose numbers differ; nothing else is raised."""
    data = {"edm": lambda: song_bytes, "legacy": lambda: legacy(adm_state), "zip": lambda: zipped(adm_state)}[kind]()
    rng = random.Random(0)
    for at in [1, 2, 11, 40, len(data) // 2, len(data) - 1] + [rng.randrange(len(data)) for _ in range(8)]:
        refused(data[:at], tmp_path)
    path = tmp_path / "bad.pkl"
    for _ in range(40):
        at = rng.randrange(min(len(data), 20_000))
        path.write_bytes(data[:at] + bytes([rng.randrange(256)]) + data[at + 1 :])
        with contextlib.suppress(FileError):
            load(path, None if kind == "edm" else "adm-imagenet128")


def test_compressed_archives_are_refused(adm_state: dict[str, Tensor], tmp_path: Path) -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(zipped(adm_state))) as plain, zipfile.ZipFile(buffer, "w") as packed:
        for entry in plain.infolist():
            packed.writestr(entry.filename, plain.read(entry), zipfile.ZIP_DEFLATED)
    assert "compressed" in refused(buffer.getvalue(), tmp_path)


def test_what_is_no_score_model_is_refused(song_bytes: bytes, adm_state: dict[str, Tensor], tmp_path: Path) -> None:
    assert "not an ADM" in refused(zipped({"a": torch.zeros(2)}), tmp_path)
    assert "neither a dictionary of tensors" in refused(zipped([1, 2]), tmp_path)
    assert "none of the published" in refused(zipped(adm_state), tmp_path)
    assert "'StyleGAN'" in refused(song_bytes.replace(b"SongUNet", b"StyleGAN"), tmp_path)
    assert "'VPprecond_'" in refused(song_bytes.replace(b"EDMPrecond", b"VPprecond_"), tmp_path)
    path = tmp_path / "cd_imagenet64.pt"
    torch.save(adm_state, path)
    with pytest.raises(FileError, match="consistency model"):
        load(path, "edm-imagenet64")
    torch.save(adm_state, tmp_path / "a.pt")
    with pytest.raises(FileError, match="cannot be read like edm-imagenet64"):
        load(tmp_path / "a.pt", "edm-imagenet64")
    with pytest.raises(ValueError, match="unknown published file 'adm64'"):
        load(tmp_path / "a.pt", "adm64")
    torch.save(adm_state | {"more": torch.zeros(1)}, tmp_path / "a.pt")
    with pytest.raises(FileError, match="no place for: 'more'"):
        load(tmp_path / "a.pt", "adm-imagenet128")
    torch.save(adm_state | {"out.2.bias": torch.zeros(7)}, tmp_path / "a.pt")
    with pytest.raises(FileError, match=r"out.2.bias must be \(6,\)"):
        load(tmp_path / "a.pt", "adm-imagenet128")
    torch.save({name: value for name, value in adm_state.items() if name != "time_embed.0.bias"}, tmp_path / "a.pt")
    with pytest.raises(FileError, match=r"lacks the tensor time_embed.0.bias"):
        load(tmp_path / "a.pt", "adm-imagenet128")


def test_command_says_what_a_file_is(song_bytes: bytes, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "edm.pkl"
    path.write_bytes(song_bytes)
    assert run(main, [str(path), "--batch", "3"]) == 0
    said = capsys.readouterr().out
    for part in ("CC BY-NC-SA", "SongUNet, 0.1", "EDM", "3 x 8 x 8, 5 classes", "[3, 3, 8, 8]", "mean square"):
        assert part in said


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["nowhere.pt"], "file: nowhere.pt does not exist"),
        (["."], "directory"),
        ([], "required"),
        (["FILE", "--device", "cuda:99"], "no device 'cuda:99'"),
        (["FILE", "--device", "gpu"], "device must be cpu or cuda"),
        (["FILE", "--batch", "0"], "batch must be a whole number of at least 1; given 0"),
        (["FILE", "--nsr", "-1"], "nsr must be positive and finite; given -1"),
        (["FILE", "--nsr", "1e9"], "this model's interval"),
        (["FILE", "--like", "adm"], "unknown published file 'adm'"),
        (["EVIL"], "system"),
    ],
)
def test_command_refuses_in_one_line(
    arguments: list[str], said: str, song_bytes: bytes, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "edm.pkl").write_bytes(song_bytes)
    (tmp_path / "evil.pkl").write_bytes(pickle.dumps(Evil()))
    paths = {"FILE": str(tmp_path / "edm.pkl"), "EVIL": str(tmp_path / "evil.pkl")}
    assert run(main, [paths.get(argument, argument) for argument in arguments]) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert error.count("\n") == 1
    assert said in error


def test_help_needs_no_torch() -> None:
    code = "import sys, images.scores; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
