"""Findings worked out from the figures of a data set: each rule has its threshold, its sentence and what to do, here."""

import operator
from collections.abc import Mapping
from dataclasses import dataclass

from vision.evaluation.report import Point, Table
from vision.exploration.facts import Fact

SIDES = {"above": operator.gt, "below": operator.lt}


@dataclass(frozen=True)
class Rule:
    """Says its sentence when `fact` is `side` `limit`. In `says` and `do`: {value}, {where}."""

    fact: str
    asks: str
    side: str
    limit: float
    form: str
    says: str
    do: str


RULES = (
    Rule(
        "unreadable", "files that can't be read", "above", 0, "{:.0f}",
        "Files that can't be read: {value} ({where}).",
        "Replace or remove them; the data contract counts them too.",
    ),
    Rule(
        "other_label", "near-duplicates under two labels", "above", 0, "{:.0f}",
        "Pairs of images that are as good as the same and carry two labels: {value} ({where}).",
        "Look at the pairs on the data's page and correct the labels: no model can be right about both.",
    ),
    Rule(
        "empty", "pictures that are blank or burnt out", "above", 0, "{:.0f}",
        "Pictures that are blank or burnt out: {value} ({where}).",
        "Look at them: most of their area is black, white or one tone. Remove those that show nothing.",
    ),
    Rule(
        "imbalance", "largest class against smallest", "above", 3, "{:.1f}",
        "The largest class has {value} times the images of the smallest ({where}).",
        "Read the figures of each class (macro F1 and not accuracy), keep the stratified split, and collect more of the smallest.",
    ),
    Rule(
        "smallest_class", "images of the smallest class", "below", 100, "{:.0f}",
        "The smallest class has {value} images ({where}).",
        "Collect more, or start from pre-trained weights: so few images teach little variety.",
    ),
    Rule(
        "test_images", "test images of the smallest class", "below", 30, "{:.0f}",
        "Only {value} test images decide about {where}.",
        "Its recall will have a wide interval; a larger `data.split.test` or more images narrow it.",
    ),
    Rule(
        "mixed", "mixing of the most alike classes", "above", 0.6, "{:.2f}",
        "{where} mix at {value} in light, colour and texture (1 would be as if nothing told them apart).",
        "Expect most errors between these two; shapes must tell them apart; keep the resolution and see the pairs on the data's page.",
    ),
    Rule(
        "camera_tells", "variance of one camera feature between classes", "above", 0.3, "{:.0%}",
        "{value} of the variance of {where} lies between the classes: how a picture was taken may tell what it shows.",
        "A model may learn the camera instead. Augment that feature, or photograph all classes alike, and test elsewhere.",
    ),
    Rule(
        "brightness_spread", "brightness of the middle 90 %, width", "below", 0.25, "{:.2f}",
        "The light hardly varies: 90 % of the images have a brightness of {where}, a width of {value} of 1.",
        "Looks like one studio. In the field light varies more: augment brightness and contrast, and add field images.",
    ),
    Rule(
        "dark", "share of dark images (brightness under 0.15)", "above", 0.02, "{:.1%}",
        "{value} of the images are dark (brightness under 0.15): {where}.",
        "Check that a person could label them; hold the slice `dark` in the gate.",
    ),
    Rule(
        "size_spread", "pixels, 95th against 5th percentile", "above", 4, "{:.1f}",
        "Image sizes differ {value}-fold between the 5th and the 95th percentile.",
        "Objects will differ in scale: keep random_resized_crop, and hold the slice `small` in the gate.",
    ),
    Rule(
        "enlarged", "share of images smaller than the model's input", "above", 0.05, "{:.1%}",
        "{value} of the images are smaller than the model's input ({where}) and will be enlarged.",
        "Lower `input.side_px`, or get larger images: enlarging adds cost and no detail.",
    ),
    Rule(
        "long", "share of images longer than 1.8 : 1", "above", 0.05, "{:.1%}",
        "{value} of the images are longer than 1.8 : 1, so the centre crop cuts off nearly half: {where}.",
        "Check that the object lies in the middle, or set `input.crop: squash`.",
    ),
    Rule(
        "squashed", "share of images longer than 1.8 : 1, squashed to a square", "above", 0.05, "{:.1%}",
        "{value} of the images are longer than 1.8 : 1 and become square: {where}.",
        "What is thin along the long side gets thinner still: raise `input.side_px`, or cut such images into tiles.",
    ),
    Rule(
        "small_boxes", "share of boxes whose shorter side is under 3 % of the image's", "above", 0.05, "{:.1%}",
        "{value} of the boxes are thinner than 3 % of their image ({where}).",
        "At the model's input they are a few pixels: raise `input.side_px`, or cut large photographs into tiles.",
    ),
    Rule(
        "box_spread", "length of boxes, 95th against 5th percentile", "above", 6, "{:.1f}",
        "Boxes differ {value}-fold in length between the 5th and the 95th percentile.",
        "Check that `model.anchor_scales` reaches from the smallest to the largest, and augment scale.",
    ),
    Rule(
        "cut_boxes", "share of boxes at the image's border", "above", 0.2, "{:.1%}",
        "{value} of the boxes touch the border of their image ({where}).",
        "What they hold may go on outside: frame wider, and expect boxes there to be found less well.",
    ),
    Rule(
        "crowded", "images with more than 20 boxes", "above", 0, "{:.0f}",
        "Images with more than 20 boxes: {value} ({where}).",
        "Look at them: a swarm of small defects may better be one box, or a class of its own.",
    ),
    Rule(
        "flawless", "share of images without a defect", "below", 0.05, "{:.1%}",
        "Only {value} of the images have no defect.",
        "What is served is mostly flawless: add such images, or the rate of false alarms there is not known.",
    ),
    Rule(
        "exact_copies", "images that are another's bytes again", "above", 0, "{:.0f}",
        "Images that are byte for byte another's copy: {value} ({where}).",
        "Nothing must be done: copies stay in one split. They add no information.",
    ),
    Rule(
        "near_copies", "share of images with a near-duplicate", "above", 0.05, "{:.1%}",
        "{value} of the images have a near-duplicate (hashes at most {where} apart).",
        "They are split together, and intervals count families; do not read the number of images as so many observations.",
    ),
    Rule(
        "just_apart", "pairs just beyond the limit, in two splits", "above", 0, "{:.0f}",
        "Pairs that stand in two splits and are only {where} apart: {value}.",
        "Look at the pairs on the data's page. If they show one thing, raise `data.split.near_duplicate_bits`: they leak into the test.",
    ),
    Rule(
        "largest_family", "share of the largest family", "above", 0.05, "{:.1%}",
        "One family of images that hang together holds {value} of all ({where}).",
        "It goes to one split as a whole. If they are not one thing, lower `data.split.near_duplicate_bits` or mend the groups.",
    ),
)  # fmt: skip


def insights(found: Mapping[str, Fact]) -> tuple[Point, ...]:
    """The findings of the rules that were met, in the order of RULES."""
    return tuple(_say(rule, found[rule.fact]) for rule in RULES if rule.fact in found and _met(rule, found[rule.fact]))


def rule_table(found: Mapping[str, Fact]) -> Table:
    """Every rule that could be asked: what was measured, from where on it speaks, and whether it did."""
    rows = tuple(
        (
            rule.asks,
            _text(rule, found[rule.fact].value),
            f"{rule.side} {_text(rule, rule.limit)}",
            "said" if _met(rule, found[rule.fact]) else "quiet",
        )
        for rule in RULES
        if rule.fact in found
    )
    return Table(
        title="The rules behind the findings", columns=("what", "measured", "speaks when", "result"), rows=rows
    )


def _met(rule: Rule, fact: Fact) -> bool:
    return SIDES[rule.side](fact.value, rule.limit)


def _text(rule: Rule, value: float) -> str:
    return rule.form.format(value).replace("%", " %")


def _say(rule: Rule, fact: Fact) -> Point:
    words = {"value": _text(rule, fact.value), "where": fact.where}
    return Point(text=rule.says.format(**words), do=rule.do.format(**words))
