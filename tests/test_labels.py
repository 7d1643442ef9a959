"""Family and clip of a film, from its frames alone."""

import numpy as np
import pytest

from sensorium_jax import protocol, stimuli
from sensorium_jax.prepare import labels, release

FAMILIES = (protocol.NATURAL, *protocol.OOD_FAMILIES)


def film(family, seed=0):
    return stimuli.clip(family, np.random.default_rng((seed, FAMILIES.index(family))))


def repeat(video, seed):
    """As the release's repeats: a few pixels one grey level off."""
    more = np.random.default_rng(seed).random(video.shape) < 0.03
    return video + (more & (video < 255))


@pytest.mark.parametrize("family", FAMILIES)
def test_family_of_generated_films(family):
    tier = "train" if family == protocol.NATURAL else "live_test_bonus"
    for seed in range(6):
        video = repeat(film(family, seed), seed)
        assert labels.family(video, tier=tier) == family
        assert labels.family(video.astype(np.float32), tier=tier) == family
        # A film is what it shows, in whichever tier.
        if family != protocol.NATURAL:
            assert labels.family(video, tier="train") == family


@pytest.mark.parametrize(
    "frames, family", [(300, labels.UNKNOWN), (240, protocol.RDK), (324, protocol.PINK_NOISE)]
)
def test_what_frames_do_not_tell_lengths_may(frames, family):
    rng = np.random.default_rng(0)
    video = stimuli.natural_clip(rng, frames=frames)
    assert labels.family(video, tier="final_test_bonus") == family
    assert labels.family(video, tier="oracle") == protocol.NATURAL


def letterboxed(video):
    video[..., :6] = video[..., -6:] = 0
    return video


def faded(video):
    """From black and back to it, once."""
    light = np.clip(np.minimum(np.arange(300), np.arange(300)[::-1]) / 60, 0, 1)
    return (video * light[:, None, None]).astype(np.uint8)


def pulled_down(video):
    """Film of 24 frames a second, every fifth shown twice."""
    return video[np.arange(300) * 4 // 5]


def still(video):
    return np.repeat(video[:1], 300, axis=0)


@pytest.mark.parametrize("change", [letterboxed, faded, pulled_down, still])
def test_natural_films_of_odd_kinds_stay_natural(change):
    for seed in range(4):
        assert labels.family(change(film(protocol.NATURAL, seed)), tier="train") == "natural"


def test_repeats_are_one_clip_and_others_are_not():
    clips, ids = labels.Clips(), {}
    for family in FAMILIES:
        for seed in range(8 if family == protocol.NATURAL else 3):
            video = film(family, seed)
            found = {clips.identify(labels.stills(repeat(video, r))) for r in range(3)}
            assert len(found) == 1
            ids[family, seed] = found.pop()
    assert len(set(ids.values())) == len(ids)


def test_repeats_with_slipped_frames_are_one_clip():
    """In the release, some frames of a repeat may be another than its neighbour's."""
    video = film(protocol.NATURAL)
    slipped = np.arange(300)
    slipped[np.random.default_rng(0).choice(np.arange(1, 300), 45, replace=False)] -= 1
    clips = labels.Clips()
    assert clips.identify(labels.stills(video)) == clips.identify(labels.stills(video[slipped]))


def test_flashes_are_compared_image_by_image():
    """Blanks vary in length from repeat to repeat."""
    video = film(protocol.NATURAL_IMAGES)
    longer = np.concatenate([np.repeat(video[:1], 5, axis=0), video])
    clips = labels.Clips()
    assert clips.identify(labels.stills(video)) == clips.identify(labels.stills(longer))


def test_ids_stay_free_when_a_mouse_was_taken_out():
    clips = labels.Clips()
    one, two, three = (labels.stills(film(protocol.NATURAL, s)) for s in range(3))
    clips.add("clip00001", one)
    assert clips.identify(two) == "clip00002"
    assert clips.identify(one) == "clip00001"
    assert clips.identify(three) == "clip00003"


def test_many_clips():
    rng = np.random.default_rng(0)
    films = rng.integers(0, 256, (150, 16, 36, 64), dtype=np.uint8)
    clips = labels.Clips()
    first = [clips.identify(stills) for stills in films]
    assert len(set(first)) == 150
    assert [clips.identify(stills) for stills in films] == first


# --- the known table of the ten mice -------------------------------------------------------------


def test_ten_mice_as_published():
    """Counts of the public trial metadata, and the published lengths of tiers.npy."""
    mice = release.mice()
    assert [len(m.trials.number) for m in mice.values()] == [
        *(720, 704, 729, 714, 723),
        *(711, 682, 711, 739, 712),
    ]
    assert [m.trial_files for m in mice.values()] == [
        740,
        720,
        740,
        720,
        739,
        711,
        682,
        711,
        739,
        712,
    ]
    assert sum(m.neurons for m in mice.values()) == 78853
    assert len({clip for m in mice.values() for clip in m.trials.clip}) == 1987
    for mouse in mice.values():
        train = mouse.trials.clip[mouse.trials.tier == "train"]
        assert len(set(train)) == len(train)
        assert not set(train) & set(mouse.trials.clip[mouse.trials.tier != "train"])
        assert mouse.trials.labelled.all() == (mouse.letter not in protocol.NEW_MICE)
        live, final = protocol.OOD_ASSIGNMENT[mouse.letter]
        for tier, families in (("live_test_bonus", live), ("final_test_bonus", final)):
            assert set(mouse.trials.family[mouse.trials.tier == tier]) == set(families)


def test_mice_share_clips_in_pairs():
    clips = {letter: set(mouse.trials.clip) for letter, mouse in release.mice().items()}
    pairs = {frozenset(pair) for pair in protocol.PAIRS}
    for one in clips:
        for other in set(clips) - {one}:
            shared = len(clips[one] & clips[other])
            assert (shared > 300) if {one, other} in pairs else not shared


def test_mice_are_found_by_their_session():
    mouse = release.mice()["F"]
    assert release.find_mouse(mouse.session) == mouse
    assert release.find_mouse("dynamic29515-10-12-Video-simulated") == mouse
    assert release.find_mouse("dynamic29515-10-1-Video-x") is None
    assert release.find_mouse("another") is None
