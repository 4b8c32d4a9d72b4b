"""Scores against hand arithmetic, brute force over pixels, and scikit-learn."""

import numpy as np
import pytest
import torch
from sklearn.metrics import confusion_matrix, jaccard_score, recall_score

from segbench import metrics
from segbench.data.classes import IGNORE
from segbench.task import EpochScores

# truth in rows: 8 of 10 pixels of class 0 found, 1 of 4 of class 1; class 2 has no truth
BY_HAND = np.array([[8, 1, 1], [3, 1, 0], [0, 0, 0]], dtype=np.uint64)


def test_scores_by_hand():
    assert metrics.class_iou(BY_HAND)[:2] == pytest.approx([8 / 13, 1 / 5])
    assert metrics.mean_iou(BY_HAND) == pytest.approx((8 / 13 + 1 / 5) / 2)
    assert metrics.mean_class_acc(BY_HAND) == pytest.approx((8 / 10 + 1 / 4) / 2)
    assert metrics.mean_acc(BY_HAND) == pytest.approx(9 / 14)


def test_a_class_without_truth_is_no_score_and_not_a_zero():
    assert np.isnan(metrics.class_iou(BY_HAND)[2])
    assert np.isnan(metrics.mean_iou(np.zeros((3, 3))))


def test_legacy_conventions_by_hand():
    # image 1 shows class 0 alone, perfectly; image 2 shows 0 and 1, half right
    images = np.array([[[4, 0, 0], [0, 0, 0], [0, 0, 0]], [[1, 1, 0], [1, 1, 0], [0, 0, 0]]])
    third = 1 / 3
    absent0 = ((1 + 0 + 0) / 3 + (third + third + 0) / 3) / 2
    absent1 = ((1 + 1 + 1) / 3 + (third + third + 1) / 3) / 2
    assert metrics.mean_iou_per_image(images, 0) == pytest.approx(absent0)
    assert metrics.mean_iou_per_image(images, 1) == pytest.approx(absent1)
    # and the sum over images says something else again: IoU 5/7 and 1/3
    assert metrics.mean_iou(images.sum(0)) == pytest.approx((5 / 7 + 1 / 3) / 2)


def test_counts_near_the_limits_of_integers_do_not_wrap():
    huge = np.array([[2**52, 2**40], [2**40, 2**52]], dtype=np.uint64)
    assert metrics.mean_iou(huge) == pytest.approx(2**52 / (2**52 + 2**41))


@pytest.mark.parametrize("seed", range(5))
def test_an_epoch_of_batches_equals_brute_force_over_all_its_pixels(seed: int):
    rng = np.random.default_rng(seed)
    classes = 6
    truth = rng.integers(0, classes - 2, (3, 2, 9, 11))  # 4 and 5 never occur in the truth ...
    predicted = rng.integers(0, classes - 1, truth.shape)  # ... but 4 is predicted
    truth[rng.random(truth.shape) < 0.2] = IGNORE
    epoch = EpochScores(classes)
    for batch in range(3):
        epoch.update(
            torch.tensor(1.0 + batch),
            torch.from_numpy(predicted[batch]),
            torch.from_numpy(truth[batch]),
        )
    _, counts = epoch.compute_and_reset()
    seen = truth != IGNORE
    y, p = truth[seen], predicted[seen]
    assert (counts == confusion_matrix(y, p, labels=range(classes))).all()
    present = np.unique(y)
    iou = jaccard_score(y, p, labels=present, average=None)
    assert metrics.class_iou(counts)[present] == pytest.approx(iou)
    assert metrics.mean_iou(counts) == pytest.approx(iou.mean())
    recall = recall_score(y, p, labels=present, average="macro")
    assert metrics.mean_class_acc(counts) == pytest.approx(recall)
    assert metrics.mean_acc(counts) == pytest.approx((y == p).mean())


def test_the_mean_iou_of_an_epoch_is_not_a_mean_of_batches():
    epoch = EpochScores(2)
    epoch.update(torch.tensor(0.0), torch.tensor([[[0, 0, 0, 0]]]), torch.tensor([[[0, 0, 0, 1]]]))
    epoch.update(torch.tensor(0.0), torch.tensor([[[1, 1, 1, 1]]]), torch.tensor([[[1, 1, 1, 1]]]))
    _, counts = epoch.compute_and_reset()
    # by batch: (3/4 + 0) / 2 and 1, mean 0.6875; over all pixels: 3/4 and 4/5
    assert metrics.mean_iou(counts) == pytest.approx((3 / 4 + 4 / 5) / 2)


def test_the_loss_of_an_epoch_weighs_batches_by_their_labelled_pixels():
    epoch = EpochScores(2)
    one = torch.zeros(1, 1, 4, dtype=torch.long)
    epoch.update(torch.tensor(1.0), one, torch.tensor([[[0, IGNORE, IGNORE, IGNORE]]]))
    epoch.update(torch.tensor(5.0), one, torch.tensor([[[0, 0, 0, IGNORE]]]))
    loss, _ = epoch.compute_and_reset()
    assert loss == pytest.approx((1 * 1 + 5 * 3) / 4)
    epoch.update(torch.tensor(float("nan")), one, one)
    assert np.isnan(epoch.compute_and_reset()[0])  # divergence shows


def test_the_larger_index_never_wins_a_tie():
    # prediction is max(1).indices, which is several times faster than argmax(1)
    tied = torch.tensor([1.0, 3.0, 3.0, 3.0]).view(1, 4, 1, 1).expand(2, 4, 5, 7)
    for memory_format in (torch.contiguous_format, torch.channels_last):
        logits = tied.contiguous(memory_format=memory_format)
        assert (logits.max(1).indices == 1).all()
        assert (logits.argmax(1) == 1).all()
