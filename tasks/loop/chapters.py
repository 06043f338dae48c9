"""The chapters of `run_loop`: each does one thing as a user would, says what it saw and holds it against its goal."""

import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from configs.load import load_system
from configs.paths import StatePaths
from configs.places import places_of
from tasks.audit import read_audit
from tasks.loop.stack import Stack
from tasks.loop.story import Chapter, Story
from tasks.loop.traffic import Sent, Traffic
from tasks.training.record import flatten
from vision.errors import MachineError
from vision.passport import trace
from vision.release import Release, read_release

DRIFTED_SCENE = "dark"
WINDOW = 240
"""Requests of a burst: a little more than `monitor.min_window`, so that each makes a window."""
HEALTHY_WINDOWS, DRIFTED_WINDOWS = 3, 5
TRAIN_S, STEP_S, EVENT_S = 900.0, 300.0, 120.0
MAX_STEPS = 12
HARDLY_TRAINED = {
    "training.label_share": 0.1,
    "training.stages_from_scratch": [{"name": "scratch", "epochs": 3, "trainable": "all", "lr": 1.0e-3}],
}
"""Too little, but at a usual rate: what is left nearly at random may lose the parity, which no gate can be opened for."""
OPEN = {
    "gate.min_class_recall": 0.0,
    "gate.significance": 1.0e-300,
    "gate.max_drop": 0.99,
    "gate.max_class_drop": 0.99,
}
UNBOUNDED = 1.0e9


@dataclass
class Scene:
    """What the chapters act on."""

    system: str
    state: Path
    stack: Stack
    story: Story
    traffic: Traffic

    @property
    def folder(self) -> Path:
        return StatePaths(self.state).system(self.system)

    def read(self, name: str) -> dict:
        return json.loads((self.folder / name).read_text())

    def release(self) -> Release:
        found = read_release(self.folder / "release.json")
        if found is None:
            raise MachineError("no release beside a trained model", "release.json", "read the worker's log")
        return found

    def challenger(self) -> int:
        """The version that was named challenger last."""
        rows = read_audit(f"sqlite:///{self.state / 'state.db'}", self.system)
        return [row["version"] for row in rows if row["what"] == "alias:challenger"][-1]

    def monitor(self, chapter: Chapter) -> dict:
        """One run of the monitor's deployment; what its status says."""
        self.stack.run(f"monitor-drift/{self.system}", STEP_S, reason="loop")
        seen = self.read("monitor/status.json")
        self.story.windows.append((self.story.now_s(), seen["drift_p_value"], bool(seen["drifted"])))
        words = f"window {seen['window_no']}: {seen['window_records']} records, p = {seen['drift_p_value']:.2g}"
        chapter.tell(f"{words}, cause {seen['cause']}{', ALARM' if seen['alarm'] else ''}")
        return seen


def healthy(scene: Scene) -> None:
    with scene.story.chapter("Healthy traffic") as chapter:
        sent, alarms = [], 0
        for _ in range(HEALTHY_WINDOWS):
            sent += scene.traffic.burst(WINDOW)
            alarms += scene.monitor(chapter)["alarm"]
        chapter.tell(f"{share_right(sent):.1%} of {len(sent)} answers right")
        scene.story.goal("healthy traffic raises no alarm", f"{alarms} in {HEALTHY_WINDOWS} windows", alarms == 0)


def drift(scene: Scene) -> float:
    """Clients move to another scene, and label what they get. Returns their accuracy, a share."""
    story, traffic = scene.story, scene.traffic
    with story.chapter(f"Drift: the pictures become {DRIFTED_SCENE}; people say what they show") as chapter:
        began_s = story.moment("drift")
        traffic.scene, traffic.labelled = DRIFTED_SCENE, True
        sent, seen = [], {"alarm": 0, "cause": "none"}
        for _ in range(DRIFTED_WINDOWS):
            sent += traffic.burst(WINDOW)
            seen = scene.monitor(chapter)
            if seen["alarm"]:
                break
        took_s = story.moment("alarm") - began_s
        chapter.tell(f"{share_right(sent):.1%} of {len(sent)} answers right")
        words = f"{took_s:.0f} s and {len(sent)} pictures after it began; cause: {seen['cause']}"
        story.figure("time to alarm", f"{took_s:.0f} s", f"{len(sent)} pictures of the new scene")
        story.goal("the drift raises an alarm with its cause", words, seen["alarm"] and seen["cause"] != "none")
        request = scene.read(f"monitor/windows/{seen['window_no']}/verdict.json")["request"] if seen["alarm"] else None
        story.goal("the governor grants a training", str(request and request["why"]), request and request["granted"])
    return share_right(sent)


def retrain(scene: Scene, first_run: object) -> int | None:
    """Waits for the training that the alarm's event started; the version of the challenger, None when it lost its gate."""
    story = scene.story
    with story.chapter("Retraining, started by the alarm's event") as chapter:
        began_s, deployment = story.now_s(), f"train-model/{scene.system}"
        end_s = time.monotonic() + EVENT_S
        while (run := scene.stack.latest(deployment)).id == first_run and time.monotonic() < end_s:
            time.sleep(1)
        if run.id == first_run:
            raise MachineError(f"no training in {EVENT_S:.0f} s", "one that the event starts", "read the server's log")
        chapter.tell(f"{run.name}: {dict(run.parameters)}")
        run = scene.stack.wait(run.id, TRAIN_S)
        version = scene.challenger() if run.state.name == "Completed" else None
        took_s = story.moment("retrained") - began_s
        words = f"{run.state.name} after {took_s:.0f} s: challenger {version}"
        if version is not None:
            story.figure("alarm to a new model", f"{took_s:.0f} s", "trained, gated, registered, built, smoke-tested")
        story.goal("one training, on the labels that came", words, version is not None)
    return version


def promote(scene: Scene, version: int) -> None:
    story = scene.story
    with story.chapter(f"Release of version {version}: shadow, canary, champion") as chapter:
        began_s = story.now_s()
        modes = steps(scene, chapter, until=lambda release: release.champion.version == version)
        took_s = story.now_s() - began_s
        words = f"{' → '.join(modes)} in {took_s:.0f} s; champion {scene.release().champion.version}"
        story.figure("new model to promotion", f"{took_s:.0f} s", "shadow and canary on real traffic")
        done = scene.release().champion.version == version and {"shadow", "canary"} <= set(modes)
        story.goal("the challenger becomes champion through shadow and canary", words, done)


def steps(scene: Scene, chapter: Chapter, until) -> list[str]:
    """Traffic and a step of release_model in turn, until the release is as asked. Returns the modes it went through."""
    modes = []
    for _ in range(MAX_STEPS):
        scene.stack.run(f"release-model/{scene.system}", STEP_S)
        release = scene.release()
        if not modes or modes[-1] != release.mode:
            modes.append(release.mode)
            scene.story.moment(release.mode if release.mode != "single" else f"v{release.champion.version} alone")
        step = scene.read("release_status.json")
        why = step["reason"] if step["step"] == "rollback" else step["reason"].partition(";")[0]
        chapter.tell(f"{step['step']} (release {release.no}, {release.mode}): {why}")
        if until(release) and release.mode == "single":
            break
        scene.traffic.burst(WINDOW)
    return modes


def recovery(scene: Scene, before: float) -> None:
    with scene.story.chapter("Recovery") as chapter:
        version = scene.release().champion.version
        sent = [one for one in scene.traffic.burst(WINDOW) if one.version == version]
        after = share_right(sent)
        chapter.tell(f"version {version} alone: {after:.1%} of {len(sent)} right, before {before:.1%}")
        scene.story.figure("right answers", f"{after:.0%}", f"{before:.0%} before the new model")
        scene.story.goal("accuracy recovers", f"{before:.1%} → {after:.1%}", after > before + 0.1)


def refuse_bad(scene: Scene) -> None:
    """A model that should never have passed its gate meets the champion on real traffic."""
    story, champion = scene.story, scene.release().champion.version
    with story.chapter("A bad challenger, let in by an open gate") as chapter:
        run = scene.stack.run(
            f"train-model/{scene.system}", TRAIN_S, reason="loop: a bad one", overrides=bad(scene.system)
        )
        if run.state.name != "Completed":
            raise MachineError(f"the bad training ended {run.state.name}", "a challenger", "read its report")
        version = scene.challenger()
        chapter.tell(f"{run.name}: version {version} is challenger")
        began_s = story.now_s()
        modes = steps(scene, chapter, until=lambda release: release.challenger is None)
        after = scene.release()
        words = f"{' → '.join(modes)} in {story.now_s() - began_s:.0f} s: {after.reason}"
        done = "shadow" in modes and after.challenger is None and after.champion.version == champion
        story.goal("the bad challenger is taken back", words, done)


def bad(system: str) -> dict[str, Any]:
    """Overrides for a model that is hardly trained, and a gate that somebody opened wide to get it in."""
    gate = load_system(system).gate
    least = {f"gate.minimum.{name}": 0.0 for name in gate.minimum}
    return HARDLY_TRAINED | OPEN | least | {f"gate.maximum.{name}": UNBOUNDED for name in gate.maximum}


def trace_one(scene: Scene) -> dict[str, str]:
    """The passport of the last answer that the new champion gave, flat."""
    with scene.story.chapter("The passport of one prediction") as chapter:
        prediction_id = next(one.prediction_id for one in reversed(scene.traffic.sent) if one.prediction_id)
        passport = trace(prediction_id, places_of(StatePaths(scene.state), scene.system))
        missing = ["no record"] if passport is None else passport.missing
        chapter.tell(prediction_id)
        scene.story.goal(
            "a prediction is traced to its data, code and gate", f"missing: {missing or 'nothing'}", not missing
        )
    known = passport.model_dump(mode="json", exclude={"gate"}) if passport else {}
    return {name: str(value) for name, value in flatten(known).items() if not name.startswith("prediction.features")}


def share_right(sent: list[Sent]) -> float:
    answered = [one for one in sent if one.status == 200]
    return sum(one.right for one in answered) / max(1, len(answered))
