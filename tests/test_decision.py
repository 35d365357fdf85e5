"""The decision for the shown answer: its arithmetic, its selection, and the same result in every runtime."""

from dataclasses import asdict, replace
from importlib.util import find_spec

import numpy as np
import pytest

from fer_live.analysis.classifier import EmotionClassifier
from fer_live.model.checkpoint import load_checkpoint, save_checkpoint
from fer_live.model.decision import Decision, decide
from fer_live.model.spec import EMOTIONS, CheckpointError, ModelSpec, parse_spec
from training.calibrate import choose_decision
from training.evaluate import answers, predict_views
from training.evaluate import main as evaluate_main
from training.export import main as export_main

SHARES = (0.1, 0.01, 0.04, 0.28, 0.33, 0.14, 0.1)
SPEC = ModelSpec("efficientnet_lite0", heads={"fer2013": 1.5, "ferplus": 0.8},
                 class_shares={"fer2013": (1 / 7,) * 7, "ferplus": SHARES},
                 decision=Decision({"ferplus": 0.75, "fer2013": 0.25}, 0.5, 1.2), head="shown")


def test_shown_answer_matches_a_manual_calculation():
    logits = {"fer2013": np.zeros((1, 7)), "ferplus": np.log([[*SHARES, 0.5]]) * 0.8}  # FER+ predicts the class prior
    powers = np.array([(share / np.sum(SHARES)) ** 0.75 / share**0.375 for share in SHARES]) ** (1 / 1.2)
    assert decide(logits, SPEC)[0].tolist() == pytest.approx((powers / powers.sum()).tolist(), abs=1e-6)
    full = replace(SPEC, decision=Decision({"ferplus": 1.0}, 1.0))
    assert decide(logits, full)[0].tolist() == pytest.approx([1 / 7] * 7, abs=1e-6), "without the prior all classes are equal"
    votes = decide(logits, SPEC.for_head("ferplus"))[0]
    assert votes.tolist() == pytest.approx((np.array(SHARES) / np.sum(SHARES)).tolist(), abs=1e-6)


def test_logit_adjustment_removes_the_neutral_prior():
    logits = {"fer2013": np.zeros((1, 7)), "ferplus": np.log([[0.33, 0.02, 0.02, 0.02, 0.45, 0.1, 0.05, 0.01]])}
    assert EMOTIONS[decide(logits, SPEC.for_head("ferplus")).argmax()] == "neutral"
    assert EMOTIONS[decide(logits, SPEC).argmax()] == "angry"


def test_decision_is_stored_in_the_checkpoint(untrained, tmp_path):
    model, _ = load_checkpoint(untrained)
    save_checkpoint(tmp_path / "m.pt", model, SPEC, {})
    assert load_checkpoint(tmp_path / "m.pt")[1] == SPEC
    assert load_checkpoint(tmp_path / "m.pt", head="fer2013")[1].head == "fer2013"
    older = {**asdict(replace(SPEC, decision=None, class_shares={}, head="ferplus")), "temperature": 0.8}
    del older["decision"], older["class_shares"]
    assert parse_spec(older).answers == ("fer2013", "ferplus"), "a file of an older version keeps its answer"
    with pytest.raises(CheckpointError, match="have no head 'shown'"):
        load_checkpoint(untrained, head="shown")


@pytest.mark.skipif(not all(map(find_spec, ("onnx", "onnxscript", "onnxruntime"))), reason="needs the exporter's packages")
def test_every_runtime_matches_evaluation(untrained, tmp_path):
    model, _ = load_checkpoint(untrained)
    for head in model.heads.values():  # untrained heads hardly differ between images
        head.weight.data.mul_(30)
    path = tmp_path / "m.pt"
    save_checkpoint(path, model, SPEC, {})
    assert export_main(["--format", "onnx", "--model", str(path), "--out", str(tmp_path / "m.onnx")]) == 0
    crops = np.random.default_rng(0).integers(0, 256, (5, 48, 48, 1), np.uint8)
    measured = answers(predict_views(model.eval(), crops[..., 0], SPEC), SPEC)
    for name, probs in measured.items():
        for runtime in ("torch", "onnx", *(["openvino"] if find_spec("openvino") else [])):
            # OpenVINO computes in 16 bits if the processor can
            classify = EmotionClassifier(path, "cpu", head=name, runtime=runtime)
            assert np.allclose(classify(crops), probs, atol=0.05 if runtime == "openvino" else 1e-4), (name, runtime)
    assert np.ptp(measured["shown"], axis=0).max() > 0.05, "the images differ"


def test_strength_maximizes_recall_within_three_points_of_accuracy():
    rng = np.random.default_rng(0)
    truth = rng.choice(7, 6000, p=SHARES / np.sum(SHARES))
    scores = rng.normal(0, 1, (6000, 7)) + 1.6 * np.eye(7)[truth]
    posterior = 1.6 * scores + np.log(SHARES)  # the logits of a network that has learned the prior
    logits = {"fer2013": rng.normal(0, 1, (6000, 7)), "ferplus": np.concatenate([posterior, np.full((6000, 1), -9.0)], 1)}
    votes = np.zeros((6000, 10), np.float32)
    votes[np.arange(6000), truth] = 9
    spec = replace(SPEC, heads={"fer2013": 1.0, "ferplus": 1.0}, class_shares={**SPEC.class_shares, "ferplus": tuple(SHARES)})
    decision = choose_decision([logits], spec, votes)

    def figures(decision):
        named = decide(logits, replace(spec, decision=decision)).argmax(1)
        return (named == truth).mean(), np.mean([(named[truth == c] == c).mean() for c in range(7)])

    (plain, plain_recall), (accuracy, recall) = figures(Decision({"ferplus": 1.0})), figures(decision)
    assert decision.strength > 0 and plain - 0.03 <= accuracy and recall > plain_recall + 0.05
    assert decision.weights.get("fer2013", 0) <= 0.1, "the other head is random"
    probs = decide(logits, replace(spec, decision=decision))
    assert probs.max(1).mean() == pytest.approx((probs.argmax(1) == truth).mean(), abs=0.02), "calibrated"


def test_labeled_faces_use_the_app_decision(untrained, tmp_path, capsys):
    model, _ = load_checkpoint(untrained)
    save_checkpoint(tmp_path / "m.pt", model, SPEC, {})
    images = np.random.default_rng(0).integers(0, 256, (6, 60, 60), np.uint8)
    names = np.array(["angry", "happiness", "fear", "sad", "Surprise", "disgust"])
    np.savez(tmp_path / "faces.npz", X=images, Y=names, person=np.arange(6))
    command = ["--model", str(tmp_path / "m.pt"), "--device", "cpu", "--faces"]
    assert evaluate_main([*command, str(tmp_path / "faces.npz"), "--flip", "--json", str(tmp_path / "f.json")]) == 0
    out = capsys.readouterr().out
    assert "answer shown, both views" in out and "mean recall" in out and "confusion" in out
    wrong = (("x", {"X": images}, "no array Y"), ("y", {"X": images, "Y": names[:5]}, "class names"),
             ("z", {"X": images.astype(float), "Y": names}, "uint8"), ("w", {"X": images, "Y": ["?"] * 6}, "classes are"))
    for name, arrays, words in wrong:
        np.savez(tmp_path / f"{name}.npz", **arrays)
        assert evaluate_main([*command, str(tmp_path / f"{name}.npz")]) == 2
        assert words in capsys.readouterr().err
    (tmp_path / "bad.npz").write_bytes(b"no such thing")
    assert evaluate_main([*command, str(tmp_path / "bad.npz")]) == 2 and "cannot be read" in capsys.readouterr().err
    assert evaluate_main([*command, str(tmp_path / "none.npz")]) == 2
    with pytest.raises(SystemExit):
        evaluate_main([*command, str(tmp_path / "faces.npz"), "--split", "PublicTest"])
