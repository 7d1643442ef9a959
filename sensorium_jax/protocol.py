"""The constants of the SENSORIUM 2023 benchmark, each with its source.

No other file may contain these numbers. Sources: [SK] the starter kit, ecker-lab/sensorium_2023
(README, ``utility/scores.py``); [NP] sinzlab/neuralpredictors; [A] counts over the public trial
metadata of the ten mice, anaflom/sensorium (CC0); [CL] bryanlimy/ViV1T-closed-loop.
"""

FRAME_RATE_HZ = 30  # stimulus, behaviour and responses share one grid [SK, A]
HEIGHT, WIDTH = 36, 64  # pixels of every video [SK]

CLIP_FRAMES = 300  # only the first 300 frames of a clip are scored, even if it is longer [CL]
SKIP_FRAMES = 50  # the first 50 frames of a clip are not scored [SK scores.py]

# Frames left out at the end of a clip: today's starter kit scores 50 to 299; the loader of 2023
# lost the last frame, and the three winners submitted 249 (their repositories).
WINDOWS = {"starter": 0, "winners": 1}

STD_FLOOR = 0.01  # a neuron's std is at least this share of the mean std [NP NeuroNormalizer]

TRAIN = "train"
ORACLE = "oracle"  # the public validation tier, six clips of about ten repeats
MAIN_TIERS = "live_test_main", "final_test_main"  # natural films
BONUS_TIERS = "live_test_bonus", "final_test_bonus"  # out-of-domain stimuli
TRACKS = {"main": MAIN_TIERS, "bonus": BONUS_TIERS}
TEST_TIERS = *MAIN_TIERS, *BONUS_TIERS
TIERS = (TRAIN, ORACLE, *TEST_TIERS)  # [A]
EVALUATION_TIERS = TIERS[1:]
MISSING = "none"  # a gap in the file numbering: no file [A]

NATURAL = "natural"
PINK_NOISE, GABOR, RDK = "pink_noise", "drifting_gabor", "random_dots"
GAUSSIAN_DOTS, NATURAL_IMAGES = "gaussian_dots", "natural_images"
OOD_FAMILIES = (PINK_NOISE, GAUSSIAN_DOTS, RDK, GABOR, NATURAL_IMAGES)

# Which families were shown to which mouse: (live_test_bonus, final_test_bonus) [CL README, A].
# Letters as in [CL]: A-E are the old mice, F-J the new ones, whose test responses are withheld.
OOD_ASSIGNMENT = {
    "A": ((PINK_NOISE,), (GAUSSIAN_DOTS, RDK)),
    "B": ((GABOR,), (PINK_NOISE, NATURAL_IMAGES)),
    "C": ((RDK,), (GABOR, NATURAL_IMAGES)),
    "D": ((NATURAL_IMAGES,), (PINK_NOISE, GAUSSIAN_DOTS)),
    "E": ((GAUSSIAN_DOTS,), (RDK, GABOR)),
    "F": ((PINK_NOISE,), (GAUSSIAN_DOTS, RDK)),
    "G": ((GABOR,), (RDK, NATURAL_IMAGES)),
    "H": ((GAUSSIAN_DOTS,), (PINK_NOISE, NATURAL_IMAGES)),
    "I": ((RDK,), (GAUSSIAN_DOTS, GABOR)),
    "J": ((NATURAL_IMAGES,), (PINK_NOISE, GABOR)),
}

# Session folders of the release by letter [LR: lRomul/sensorium, constants; A].
SESSIONS = {
    "A": "dynamic29156-11-10-Video-8744edeac3b4d1ce16b680916b5267ce",
    "B": "dynamic29228-2-10-Video-8744edeac3b4d1ce16b680916b5267ce",
    "C": "dynamic29234-6-9-Video-8744edeac3b4d1ce16b680916b5267ce",
    "D": "dynamic29513-3-5-Video-8744edeac3b4d1ce16b680916b5267ce",
    "E": "dynamic29514-2-9-Video-8744edeac3b4d1ce16b680916b5267ce",
    "F": "dynamic29515-10-12-Video-9b4f6a1a067fe51e15306b9628efea20",
    "G": "dynamic29623-4-9-Video-9b4f6a1a067fe51e15306b9628efea20",
    "H": "dynamic29647-19-8-Video-9b4f6a1a067fe51e15306b9628efea20",
    "I": "dynamic29712-5-9-Video-9b4f6a1a067fe51e15306b9628efea20",
    "J": "dynamic29755-2-8-Video-9b4f6a1a067fe51e15306b9628efea20",
}
NEW_MICE = ("F", "G", "H", "I", "J")  # their test responses are withheld: zeros [SK, A]
# Every old mouse saw the clips of one new mouse, and of no other [A].
PAIRS = (("A", "F"), ("B", "J"), ("C", "G"), ("D", "H"), ("E", "I"))


def short_name(session: str) -> str:
    """A session's name without what all names of the release share."""
    return session.partition("-Video-")[0].removeprefix("dynamic")
