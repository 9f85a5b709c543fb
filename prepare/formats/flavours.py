"""The two flavours of AMASS that are read: the body model of each, and what its files look like.

SMPL-H (Romero et al. 2017) has a body and hands. SMPL-X (Pavlakos et al. 2019) also has a jaw and eyes.
"""

from dataclasses import dataclass

AMASS_PAGE = "https://amass.is.tue.mpg.de"
# Hand poses of takes. as-is: used as they are. released: the body's mean hand pose is added, as in the released code.
HANDS = ("as-is", "released")


@dataclass(frozen=True)
class Flavour:
    """A body model, and the takes that hold its poses."""

    model: str
    joints: int  # of the kinematic chain
    vertices: int
    index_fingers: tuple[int, int]  # first joint of the left and of the right index finger
    tips: tuple[int, ...]  # vertices: tips of left thumb, left index, right thumb and right index (smplx's vertex ids)
    files: tuple[str, ...]  # names of body models; in a folder, the first one that is there is used
    page: str  # where to get the body model
    download: str  # name on AMASS's download page
    ending: str  # of the takes

    @property
    def pose_width(self) -> int:
        """Numbers of one pose: the axis-angle of every joint."""
        return 3 * self.joints

    @property
    def chain(self) -> tuple[int, ...]:
        """Joints of the kinematic chain that are the first 21 of the 25 NTU RGB+D joints."""
        left, right = self.index_fingers
        return 0, 3, 12, 15, 16, 18, 20, left, 17, 19, 21, right, 1, 4, 7, 10, 2, 5, 8, 11, 9

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Shapes of the arrays of the body model. A model may lack the mean hand poses."""
        return {
            "kintree_table": (2, self.joints),
            "v_template": (self.vertices, 3),
            "posedirs": (self.vertices, 3, (self.joints - 1) * 9),
            "J_regressor": (self.joints, self.vertices),
            "weights": (self.vertices, self.joints),
            "hands_meanl": (45,),
            "hands_meanr": (45,),
        }


SMPLH = Flavour(
    model="SMPL-H",
    joints=52,
    vertices=6890,
    index_fingers=(22, 37),
    tips=(2746, 2319, 6191, 5782),
    files=("SMPLH_male.pkl", "SMPLH_male.npz", "male/model.npz", "model.npz"),
    page="https://mano.is.tue.mpg.de (SMPL-H or extended SMPL+H)",
    download="SMPL+H G",
    ending="_poses.npz",
)
SMPLX = Flavour(
    model="SMPL-X",
    joints=55,
    vertices=10475,
    index_fingers=(25, 40),
    tips=(5361, 4933, 8079, 7669),
    files=("SMPLX_MALE.npz", "SMPLX_NEUTRAL.npz"),
    page="https://smpl-x.is.tue.mpg.de",
    download="SMPL-X G",
    ending="_stageii.npz",
)
FLAVOURS = (SMPLH, SMPLX)
BY_JOINTS = {flavour.joints: flavour for flavour in FLAVOURS}
