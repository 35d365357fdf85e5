"""Networks, preprocessing and checkpoints."""

import dataclasses
import hashlib
import io
import json
import pickle

import cv2
import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from fer_live.analysis.classifier import EmotionClassifier
from fer_live.analysis.runtimes.torch_network import fuse
from fer_live.model import DEFAULT_WEIGHTS
from fer_live.model.checkpoint import load_checkpoint, save_checkpoint
from fer_live.model.device import DeviceError, choose_device
from fer_live.model.networks import build_model
from fer_live.model.preprocess import crop_faces, normalize
from fer_live.model.spec import EMOTIONS, CheckpointError, ModelSpec, parse_spec

SPEC = ModelSpec("efficientnet_lite0", heads={"fer2013": 1.0, "ferplus": 1.0}, head="ferplus")


def disturb(model):
    """Set batch norm statistics and weights to values as after training."""
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.1)
            module.running_var.uniform_(0.5, 2.0)
            torch.nn.init.uniform_(module.weight, 0.5, 1.5)
    return model.eval()


# ------------------------------------------------------------------------------------------------ preprocessing


def test_image_of_the_input_size_is_unchanged():
    image = np.random.default_rng(0).integers(0, 256, (48, 48), np.uint8)
    assert np.array_equal(crop_faces(image, np.array([[0, 0, 48, 48]]), SPEC)[0, ..., 0], image)


def test_crops_are_square_and_repeat_the_edge():
    image = np.zeros((100, 100, 3), np.uint8)
    image[:, 50:] = 200
    crop = crop_faces(image, np.array([[70, 30, 130, 70]]), SPEC)  # 60 wide, 40 high, 30 pixels over the right border
    assert crop.shape == (1, 48, 48, 1)
    assert (crop == 200).all()
    assert crop_faces(image, np.empty((0, 4), np.int32), SPEC).shape == (0, 48, 48, 1)


def test_margin_widens_the_crop():
    image = np.zeros((200, 200), np.uint8)
    image[80:120, 80:120] = 255
    box = np.array([[80, 80, 120, 120]])
    tight = crop_faces(image, box, SPEC)
    wide = crop_faces(image, box, dataclasses.replace(SPEC, crop_margin=1.0))
    assert tight.mean() == 255 and wide.mean() == pytest.approx(255 / 4, abs=3)


def test_normalize_has_the_documented_range_order_and_shape():
    crops = torch.zeros(1, 48, 48, 3, dtype=torch.uint8)
    crops[..., 0] = 255  # blue
    color = dataclasses.replace(SPEC, channels=3, mean=(0.5, 0.5, 0.5), std=(0.5, 0.25, 0.5))
    x = normalize(crops, color)
    assert x.shape == (1, 3, 48, 48)
    assert [round(float(v), 3) for v in x[0, :, 0, 0]] == [-1.0, -2.0, 1.0]  # red, green, blue
    gray = dataclasses.replace(SPEC, mean=(0.5, 0.25), std=(0.5, 0.25))
    assert normalize(crops[..., :1], gray).shape == (1, 2, 48, 48)  # one plane is repeated


def test_training_evaluation_and_live_input_are_identical(tmp_path, portrait):
    """Training without augmentation, evaluation from a file, and the live crop of a full-frame box give the same tensor."""
    from training.augment import Augmentation, augment
    from training.data import load_dataset

    gray = cv2.resize(cv2.cvtColor(portrait[70:170, 175:275], cv2.COLOR_BGR2GRAY), (48, 48), interpolation=cv2.INTER_AREA)
    for name in EMOTIONS:
        for split in ("train", "validation"):
            (tmp_path / split / name).mkdir(parents=True)
            cv2.imwrite(str(tmp_path / split / name / "0.png"), gray)
    data = load_dataset(tmp_path)
    none = Augmentation(0, 0, 0, 0, 0, 0, 0, 0, 0)
    trained = augment(torch.from_numpy(data.images[:1]), 48, none, torch.Generator().manual_seed(0))
    evaluated = torch.from_numpy(data.images[:1])[..., None]
    live = torch.from_numpy(crop_faces(cv2.cvtColor(gray, cv2.COLOR_GRAY2BGR), np.array([[0, 0, 48, 48]]), SPEC))
    tensors = [normalize(t, SPEC) for t in (trained, evaluated, live)]
    assert torch.equal(tensors[1], tensors[2])
    assert torch.allclose(tensors[0], tensors[1], atol=1e-4)  # grid_sample at the pixels' centers rounds in the 6th digit


# ------------------------------------------------------------------------------------------------ networks


@pytest.mark.parametrize("arch", ["efficientnet_lite0", "efficientnet_b0", "resnet18", "resnet9"])
def test_folding_batch_norm_does_not_change_the_result(arch):
    torch.manual_seed(0)
    model = disturb(build_model(dataclasses.replace(SPEC, arch=arch)))
    x = torch.randn(2, 1, 48, 48)
    with torch.inference_mode():
        plain = model(x)
        fuse(model)
        fused = model(x)
    assert not any(isinstance(m, torch.nn.BatchNorm2d) for m in model.modules())
    assert torch.allclose(plain, fused, atol=1e-4 * float(plain.abs().max() + 1))


def test_network_upsamples_small_input():
    model = build_model(dataclasses.replace(SPEC, resolution=64)).eval()
    x = torch.randn(1, 1, 48, 48)
    large = torch.nn.functional.interpolate(x, size=(64, 64), mode="bilinear", align_corners=False)
    with torch.inference_mode():
        assert torch.equal(model(x), model(large))


def test_unknown_network_suggests_names():
    with pytest.raises(CheckpointError, match="efficientnet_b99"):
        build_model(dataclasses.replace(SPEC, arch="efficientnet_b99"))


def test_pretrained_weights_load_by_position_and_fold_colors(tmp_path):
    torch.manual_seed(0)
    color = build_model(dataclasses.replace(SPEC, mean=(0.5,) * 3, std=(0.5,) * 3)).eval()
    own = color.trunk.state_dict()
    foreign = {f"other.{i}.{name.rpartition('.')[2]}": tensor for i, (name, tensor) in enumerate(own.items())}
    files = {"position.pth": foreign, "names.pth": dict(sorted(own.items())), "nested.pth": {"epoch": 3, "state_dict": foreign}}
    for name, content in files.items():
        torch.save(content, tmp_path / name)
    save_file({name: tensor.contiguous() for name, tensor in own.items()}, tmp_path / "hub.safetensors")
    x = torch.randn(1, 1, 48, 48)
    for name in (*files, "hub.safetensors"):  # the last has its names in another order
        gray = build_model(SPEC, pretrained=tmp_path / name).eval()
        with torch.inference_mode():
            assert torch.allclose(gray.features(x), color.features(x.expand(-1, 3, -1, -1)), atol=1e-4), name
    with pytest.raises(CheckpointError, match="does not fit"):
        build_model(dataclasses.replace(SPEC, arch="resnet18"), pretrained=tmp_path / "position.pth")


def test_rejects_weights_of_other_networks(tmp_path):
    own = build_model(SPEC).trunk.state_dict()
    wrong = {
        "no named weights": [1, 2], "other than named weights": {"a": torch.zeros(1), "b": "text"},
        "it has 2 tensors": dict(list(own.items())[:2]),
        "does not fit": {f"x.{name}": own[name] for name in sorted(own)},  # in another order
    }
    for words, content in wrong.items():
        torch.save(content, tmp_path / "weights.pth")
        with pytest.raises(CheckpointError, match=words):
            build_model(SPEC, pretrained=tmp_path / "weights.pth")
    (tmp_path / "weights.safetensors").write_bytes(b"no such thing")
    with pytest.raises(CheckpointError, match="cannot be read as weights"):
        build_model(SPEC, pretrained=tmp_path / "weights.safetensors")


# ------------------------------------------------------------------------------------------------ checkpoints


def test_checkpoints_store_their_spec_and_select_heads(untrained):
    model, spec = load_checkpoint(untrained)
    assert spec.labels == EMOTIONS and spec.head == "ferplus" and spec.heads["ferplus"] == 0.8
    _, other_spec = load_checkpoint(untrained, "cpu", head="fer2013")
    assert other_spec.head == "fer2013" and other_spec.heads["fer2013"] == 1.5
    x = torch.randn(3, 1, 48, 48)
    with torch.inference_mode():
        both = model.forward_heads(x)
        assert model(x).shape == (3, 2, 7) and both["ferplus"].shape == (3, 8)
        assert torch.equal(model(x)[:, 1], both["ferplus"][:, :7]) and torch.equal(model(x)[:, 0], both["fer2013"])
    with pytest.raises(CheckpointError, match="fer2013, ferplus"):
        load_checkpoint(untrained, head="nonsense")


def test_rejects_ensembles_with_too_many_members(untrained, tmp_path):
    model, spec = load_checkpoint(untrained)
    save_checkpoint(tmp_path / "many.pt", model, dataclasses.replace(spec, arch="+".join(["efficientnet_lite0"] * 9)), {})
    with pytest.raises(CheckpointError, match="at most 8"):
        load_checkpoint(tmp_path / "many.pt")


def test_half_precision_files_load_as_float32(untrained, tmp_path):
    model, spec = load_checkpoint(untrained)
    save_checkpoint(tmp_path / "half.pt", model, spec, {"note": 1}, half=True)
    half, _ = load_checkpoint(tmp_path / "half.pt")
    assert (tmp_path / "half.pt").stat().st_size < 0.6 * untrained.stat().st_size
    assert all(p.dtype == torch.float32 for p in half.parameters())


class Payload:
    def __reduce__(self):
        return (open, ("/nonexistent-proof-of-code", "w"))


def test_rejects_bad_checkpoints(untrained, tmp_path):
    whole = untrained.read_bytes()
    buffer = io.BytesIO()
    torch.save({"format": "fer_live/1", "spec": Payload(), "state_dict": {}}, buffer)
    content = torch.load(untrained, weights_only=True)
    unfit = io.BytesIO()
    torch.save({**content, "spec": {**content["spec"], "arch": "resnet18"}}, unfit)
    foreign = io.BytesIO()
    torch.save({"weights": torch.zeros(3)}, foreign)
    cases = {
        "cut": (whole[: len(whole) // 2], "truncated"), "empty": (b"", "truncated"), "text": (b"hello", "checkpoint"),
        "code": (buffer.getvalue(), "code"), "pickle": (pickle.dumps(Payload()), "code"),
        "unfit": (unfit.getvalue(), "do not match"), "foreign": (foreign.getvalue(), "not a fer_live checkpoint"),
    }
    for name, (data, words) in cases.items():
        path = tmp_path / f"{name}.pt"
        path.write_bytes(data)
        with pytest.raises(CheckpointError) as caught:
            load_checkpoint(path)
        assert words in str(caught.value) and "\n" not in str(caught.value), name
    with pytest.raises(CheckpointError, match="no model file"):
        load_checkpoint(tmp_path / "missing.pt")


def test_failed_save_keeps_the_old_file(untrained, tmp_path, monkeypatch):
    model, spec = load_checkpoint(untrained)
    path = tmp_path / "best.pt"
    path.write_bytes(b"old")
    monkeypatch.setattr(torch, "save", lambda *_: (_ for _ in ()).throw(OSError("disk full")))
    with pytest.raises(OSError):
        save_checkpoint(path, model, spec, {})
    assert path.read_bytes() == b"old" and list(tmp_path.iterdir()) == [path]


def test_released_weights_match_the_model_card():
    card = json.loads(DEFAULT_WEIGHTS.with_suffix(".json").read_text())
    assert hashlib.sha256(DEFAULT_WEIGHTS.read_bytes()).hexdigest() == card["sha256"]
    assert DEFAULT_WEIGHTS.stat().st_size < 20e6
    model, spec = load_checkpoint(DEFAULT_WEIGHTS)
    assert spec == parse_spec(card["spec"])
    assert sum(p.numel() for p in model.parameters()) < 10e6


# ------------------------------------------------------------------------------------------------ classifier


def test_batch_equals_single_input_and_probabilities_sum_to_one(untrained):
    classify = EmotionClassifier(untrained, "cpu")
    crops = np.random.default_rng(0).integers(0, 256, (5, 48, 48, 1), np.uint8)
    together = classify(crops)
    singly = np.concatenate([classify(crops[i : i + 1]) for i in range(5)])
    assert together.shape == (5, 7) and together.dtype == np.float32
    assert np.allclose(together, singly, atol=1e-5) and np.allclose(together.sum(1), 1, atol=1e-5)
    assert classify(crops[:0]).shape == (0, 7)
    assert "cpu" in classify.describe and "32 bits" in classify.describe


def test_unknown_device_lists_the_valid_ones():
    for text in ("gpu", "cuda:99", "cuda:x"):
        with pytest.raises(DeviceError, match="auto, cpu"):
            choose_device(text)


@pytest.mark.cuda
def test_cuda_agrees_with_cpu(untrained):
    crops = np.random.default_rng(0).integers(0, 256, (5, 48, 48, 1), np.uint8)
    assert np.allclose(EmotionClassifier(untrained, "cuda")(crops), EmotionClassifier(untrained, "cpu")(crops), atol=5e-3)
