"""The skeleton: the 25 NTU RGB+D joints and their bones."""

import re

FPS = 30  # frames per second of every stored skeleton; frame n is at n / FPS seconds

JOINT_NAMES = (
    "pelvis", "spine", "neck", "head",
    "left_shoulder", "left_elbow", "left_wrist", "left_hand",
    "right_shoulder", "right_elbow", "right_wrist", "right_hand",
    "left_hip", "left_knee", "left_ankle", "left_foot",
    "right_hip", "right_knee", "right_ankle", "right_foot",
    "chest",
    "left_thumb_tip", "left_index_tip", "right_thumb_tip", "right_index_tip",
)  # fmt: skip
NUM_JOINTS = len(JOINT_NAMES)
OTHER_SIDE = {"left": "right", "right": "left"}
# For each joint, the index of the same joint on the other side of the body
MIRRORED = [JOINT_NAMES.index(re.sub("left|right", lambda side: OTHER_SIDE[side[0]], name)) for name in JOINT_NAMES]

# For each joint of Kinect v2, its index in JOINT_NAMES. In Kinect's order, joint 21 is the left hand tip and 22 the
# left thumb. JOINT_NAMES has the thumb first, on the right hand, too. The order is its own inverse
KINECT_ORDER = [*range(21), 22, 21, 24, 23]

PELVIS, SPINE, NECK, HEAD, LEFT_SHOULDER, RIGHT_SHOULDER, LEFT_FOOT = 0, 1, 2, 3, 4, 8, 15

# (child, parent), counted from 0; following the parents leads to the chest (joint 20). The pairs are those of NTU
# RGB+D's graph. There, (21, 22) attaches the hand tip to the thumb. In JOINT_NAMES these two joints are exchanged. So
# the same pair attaches the thumb tip to the index tip
BONES = (
    (0, 1), (1, 20), (2, 20), (3, 2),
    (4, 20), (5, 4), (6, 5), (7, 6),
    (8, 20), (9, 8), (10, 9), (11, 10),
    (12, 0), (13, 12), (14, 13), (15, 14),
    (16, 0), (17, 16), (18, 17), (19, 18),
    (21, 22), (22, 7), (23, 24), (24, 11),
)  # fmt: skip
