"""What is around the leaf: backgrounds, light and shadow, and the camera. None of it knows the label."""

from dataclasses import dataclass
from io import BytesIO

import numpy as np
from PIL import Image, ImageFilter

from vision.data.synthetic.leaf import GREENS, Pose, draw_blade
from vision.data.synthetic.texture import blend, enlarge, fractal, grid, mix, slide, soft_step, soften, stream

PAPERS = np.array([(0.33, 0.30, 0.33), (0.45, 0.43, 0.42), (0.62, 0.60, 0.56), (0.20, 0.21, 0.24), (0.35, 0.27, 0.27)])
SOILS = np.array([(0.20, 0.14, 0.09), (0.31, 0.22, 0.14), (0.12, 0.09, 0.07), (0.36, 0.30, 0.23)])
CLOTHS = np.array([(0.55, 0.52, 0.47), (0.22, 0.28, 0.42), (0.48, 0.20, 0.18), (0.16, 0.16, 0.17), (0.40, 0.42, 0.34)])
WOODS = np.array([(0.42, 0.27, 0.15), (0.27, 0.17, 0.10), (0.58, 0.44, 0.28), (0.36, 0.33, 0.30)])


@dataclass(frozen=True)
class Light:
    """towards: unit (y, x) that light comes from. shade: how strongly relief shows. field: brightness [S, S, 3]."""

    towards: tuple[float, float]
    shade: float
    field: np.ndarray


def paper(rng: np.random.Generator, side_px: int) -> np.ndarray:
    """Grained paper or stone, as in laboratory photographs."""
    tone = 1 + rng.uniform(0.02, 0.10) * fractal(rng, side_px, 60, 2) + 0.05 * fractal(rng, side_px, 3, 2)
    return blend(rng, PAPERS) * tone[..., None]


def soil(rng: np.random.Generator, side_px: int) -> np.ndarray:
    """Crumbs and pebbles."""
    crumbs = fractal(rng, side_px, rng.uniform(9, 18), 4)
    slope = np.gradient(crumbs)[0] * rng.uniform(0.1, 0.3)
    image = blend(rng, SOILS) * np.clip(1 + 0.22 * crumbs + slope, 0.3, 2)[..., None]
    return mix(image, blend(rng, PAPERS), soft_step(1.5, 1.8, fractal(rng, side_px, 14, 2)) * rng.uniform(0, 0.8))


def cloth(rng: np.random.Generator, side_px: int) -> np.ndarray:
    """Woven threads, warped by soft folds, sometimes striped."""
    y, x = grid(side_px)
    turn, folds = rng.uniform(0, np.pi), fractal(rng, side_px, 2, 2)
    along = np.cos(turn) * x + np.sin(turn) * y + 0.012 * folds
    across = np.cos(turn) * y - np.sin(turn) * x + 0.012 * folds
    threads = rng.uniform(25, 50) * 2 * np.pi
    weave = 0.5 * np.sin(threads * along) * np.sin(threads * across) + 0.15 * fractal(rng, side_px, 50, 1)
    image = blend(rng, CLOTHS) * (1 + rng.uniform(0.06, 0.18) * weave + 0.08 * folds)[..., None]
    stripes = soft_step(0.2, 0.4, np.sin(along * rng.uniform(15, 50))) * rng.choice([0.0, rng.uniform(0.2, 0.7)])
    return mix(image, blend(rng, CLOTHS), stripes)


def table(rng: np.random.Generator, side_px: int) -> np.ndarray:
    """Planks of wood with grain."""
    grain = fractal(rng, side_px, rng.uniform(18, 40), 3, stretch=rng.uniform(8, 16))
    y, _ = grid(side_px)
    joint = np.abs(((y + rng.uniform(0, 1)) * rng.uniform(1, 4)) % 1 - 0.5)
    tone = (1 + rng.uniform(0.08, 0.2) * grain) * (1 - 0.6 * np.clip(1 - joint * 60, 0, 1))
    image = blend(rng, WOODS) * tone[..., None]
    return np.ascontiguousarray(image.transpose(1, 0, 2)) if rng.random() < 0.5 else image


def foliage(rng: np.random.Generator, side_px: int) -> np.ndarray:
    """Other leaves of the plant, out of focus."""
    image = blend(rng, np.concatenate([GREENS, SOILS])) * (0.7 + 0.2 * fractal(rng, side_px, 4, 3))[..., None]
    for _ in range(int(rng.integers(3, 6))):
        pose = Pose(*rng.uniform(-0.5, 0.5, 2), rng.uniform(-3.2, 3.2), rng.uniform(0.4, 0.9))
        blade = draw_blade(rng, pose, side_px)
        tissue = blend(rng, GREENS) * rng.uniform(0.5, 1.1) * (1 + 0.5 * blade.vein[..., None])
        image = mix(image, tissue, blade.cover)
        image *= 1 - 0.25 * soften(blade.cover, side_px / 30)[..., None] * (1 - blade.cover[..., None])
    small = Image.fromarray((np.clip(image, 0, 1) * 255).astype(np.uint8))
    blurred = small.filter(ImageFilter.GaussianBlur(side_px * rng.uniform(0.008, 0.03)))
    return np.asarray(blurred, np.float32) / 255


def draw_background(rng: np.random.Generator, side_px: int) -> np.ndarray:
    """float32 [S, S, 3]."""
    painter = (paper, soil, cloth, table, foliage)[rng.choice(5, p=[0.28, 0.18, 0.18, 0.16, 0.20])]
    return np.clip(painter(rng, side_px) * rng.uniform(0.6, 1.4), 0.01, 1).astype(np.float32)


def draw_light(rng: np.random.Generator, side_px: int) -> Light:
    """Sun or sky: a direction, a fall-off across the picture, a tint, sometimes the shade of twigs and other leaves."""
    turn = rng.uniform(-np.pi, np.pi)
    y, x = grid(side_px)
    field = 1 + rng.uniform(0, 0.55) * (np.sin(turn) * y + np.cos(turn) * x)
    if rng.random() < 0.3:
        shade = fractal(rng, side_px, rng.uniform(2, 5), 2)
        edge, border = rng.uniform(0.4, 1.4), rng.uniform(-0.2, 1.4)
        field = field * (1 - rng.uniform(0.15, 0.45) * soft_step(border, border + edge, shade))
    tint = np.array([1 + rng.normal(0, 0.05), 1.0, 1 - rng.normal(0, 0.06)], np.float32)
    return Light((float(np.sin(turn)), float(np.cos(turn))), rng.uniform(0.15, 0.7), field[..., None] * tint)


def relight(image: np.ndarray, slopes: np.ndarray, light: Light) -> np.ndarray:
    """Light on the leaf's relief: slopes float32 [2, S, S]; faces turned to the light are brighter."""
    facing = slopes[0] * light.towards[0] + slopes[1] * light.towards[1]
    tone = 1 + light.shade * facing / (1 + np.abs(facing))
    gloss = light.shade * 0.22 * soft_step(0.6, 2.2, facing)
    return image * tone[..., None] + gloss[..., None]


def cast_shadow(rng: np.random.Generator, cover: np.ndarray, light: Light) -> np.ndarray:
    """How dark the leaf's shadow is on what lies beneath, float32 [S, S] in 0..1."""
    side_px = cover.shape[0]
    far = rng.uniform(0.005, 0.07) * side_px
    moved = slide(cover, round(-light.towards[0] * far), round(-light.towards[1] * far))
    return soften(moved, 0.6 + far * rng.uniform(0.15, 0.6)) * rng.uniform(0.3, 0.85)


@dataclass(frozen=True)
class Camera:
    """Exposure and gains multiply light; gamma and contrast shape tones; blur and noise as fractions of the side and of
    the range; sharpen is a share; detail is the share of the resolution kept; quality is the JPEG's."""

    gains: np.ndarray
    saturation: float
    contrast: float
    blur: float
    noise: float
    sharpen: float
    vignette: float
    detail: float
    quality: int


def choose_camera(rng: np.random.Generator, scene: str) -> Camera:
    exposure, warm, green = np.exp(rng.normal(0.05, 0.2)), rng.normal(0, 0.07), rng.normal(0, 0.03)
    gains = exposure * np.array([1 + warm, 1 + green, 1 - warm], np.float32)
    saturation, contrast = np.exp(rng.normal(0.05, 0.22)), np.exp(rng.normal(0.05, 0.13))
    blur, noise, sharpen = rng.uniform(0.0, 0.004), np.exp(rng.uniform(-5.8, -3.9)), rng.uniform(0, 0.9)
    vignette, detail, quality = rng.uniform(0, 0.4), 1.0, int(rng.integers(84, 97))
    if scene == "dark":
        gains, noise, saturation = gains * rng.uniform(0.14, 0.3), noise + rng.uniform(0.02, 0.045), saturation * 0.8
    if scene == "other_camera":
        gains = gains * np.array([1.22, 0.97, 0.72], np.float32)
        saturation, contrast, blur = saturation * 1.35, contrast * 1.3, blur * 0.5
        sharpen, detail, quality = sharpen + 1.4, rng.uniform(0.42, 0.6), int(rng.integers(45, 66))
    return Camera(gains, saturation, contrast, blur, noise, sharpen, vignette, detail, quality)


def photograph(rng: np.random.Generator, light_in: np.ndarray, camera: Camera) -> np.ndarray:
    """Light, float32 [S, S, 3], to a picture, uint8 [S, S, 3]."""
    side_px = light_in.shape[0]
    y, x = grid(side_px)
    image = light_in * camera.gains * (1 - camera.vignette * 2 * (y**2 + x**2))[..., None]
    grey = image.mean(axis=2, keepdims=True)
    image = np.clip(grey + (image - grey) * np.float32(camera.saturation), 0, 4)
    image = 1 - np.exp(-image * 1.25)  # film-like shoulder: highlights roll off instead of clipping
    image = np.clip(image / 0.72, 0, 1) ** np.float32(0.72)
    image = 0.45 + (image - 0.45) * np.float32(camera.contrast)
    picture = Image.fromarray((np.clip(image, 0, 1) * 255).astype(np.uint8))
    if camera.detail < 1:
        small = picture.resize((round(side_px * camera.detail),) * 2, Image.Resampling.BOX)
        picture = small.resize(picture.size, Image.Resampling.BICUBIC)
    picture = picture.filter(ImageFilter.GaussianBlur(camera.blur * side_px))
    picture = picture.filter(ImageFilter.UnsharpMask(side_px / 130, int(100 * camera.sharpen), 0))
    grain = rng.standard_normal((side_px, side_px, 3), np.float32)
    if camera.detail < 1:
        grain = enlarge(grain[: side_px // 2, : side_px // 2, 0], side_px)[..., None]
    return np.clip(np.asarray(picture) + grain * np.float32(255 * camera.noise), 0, 255).astype(np.uint8)


def encode(picture: np.ndarray, quality: int) -> bytes:
    buffer = BytesIO()
    Image.fromarray(picture).save(buffer, "JPEG", quality=quality)
    return buffer.getvalue()


def jpeg_quality(seed: int, scene: str) -> int:
    """The quality, 1..100, at which this picture's camera would store it; no label in it."""
    return choose_camera(stream(seed, "camera"), scene).quality
