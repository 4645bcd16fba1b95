"""Make data/heartbeats_sample: electrocardiograms of 16 patients who do not exist, as WFDB records.

Run ``python data/make_heartbeats_sample.py``. It prints the counts, and writes
beside the folder the SHA-256 of each file, which the loader checks.

A heartbeat is a sum of Gaussians around its R peak, and the sinus rhythm has respiratory and Mayer waves: P. E.
McSharry, G. D. Clifford, L. Tarassenko, L. A. Smith, "A dynamical model for generating synthetic electrocardiogram
signals", IEEE Trans. Biomed. Eng. 50(3):289-294, 2003. The Gaussians are of a vector, the dipole of the heart, and a
lead is a projection of it: R. Sameni, G. D. Clifford, C. Jutten, M. B. Shamsollahi, "Multichannel ECG and noise
modeling", EURASIP J. Adv. Signal Process. 2007:043407. Another kind of beat has other Gaussians: G. D. Clifford,
S. Nemati, R. Sameni, "An artificial vector model for generating abnormal electrocardiographic rhythms", Physiol.
Meas. 31(5):595-609, 2010. Unlike there, a Gaussian lies in time and not on the phase, so that a QRS complex keeps its
width at any heart rate; only the T wave follows the RR interval. Parameters are ours, chosen to look right.
"""

import argparse
import hashlib
from collections import Counter
from pathlib import Path
from typing import NamedTuple

import numpy as np
import wfdb
from numpy.random import Generator
from numpy.typing import NDArray

SEED = 0
RATE = 360  # samples a second
LENGTH = 300 * RATE  # samples
GAIN, ZERO = 200, 1024  # steps of a mV, and the step of 0 mV, as in MIT-BIH
KINDS = "NLRAVF"
Array = NDArray[np.float64]

# Axes of the dipole: towards the left arm, the feet, the back. A lead sees the dipole from one side.
LEADS = {"MLII": (0.5, 0.85, 0.0), "V1": (-0.45, 0.1, -0.9), "V2": (0.15, 0.15, -0.95), "V5": (0.95, 0.15, -0.1)}

# A wave: seconds after the R peak, width (standard deviation, seconds), and its dipole in mV, along the axes.
P = [[-0.175, 0.018, 0.03, 0.07, -0.04], [-0.15, 0.02, 0.05, 0.06, 0.03]]
Q = [-0.026, 0.008, -0.12, -0.06, -0.25]
R = [0.0, 0.011, 0.75, 0.85, 0.35]
S = [0.029, 0.010, -0.15, -0.15, 0.55]
T = [[0.25, 0.055, 0.12, 0.12, -0.08], [0.30, 0.034, 0.10, 0.10, -0.10]]
LEFT_BLOCK = [[-0.028, 0.020, 0.45, 0.45, 0.6], [0.025, 0.024, 0.75, 0.65, 0.9], [0.07, 0.021, 0.1, -0.1, 0.4]]
LEFT_BLOCK_T = [[0.29, 0.065, -0.35, -0.25, -0.35]]
RIGHT_BLOCK = [[0.030, 0.012, -0.2, -0.2, 0.35], [0.075, 0.024, -0.5, -0.35, -0.75]]
RIGHT_BLOCK_T = [[0.29, 0.05, 0.2, 0.2, 0.25]]


class Patient(NamedTuple):
    """A patient: heart beats a minute, second lead, shares of early and fused beats, and what else is special."""

    rate: float
    second: str
    early: dict[str, float]  # the chance that a beat of this kind follows a normal one
    noise: float = 1.0
    sway: float = 0.03  # standard deviation of the sinus rhythm's RR intervals, of their mean
    block: str = ""  # L or R: which bundle branch does not conduct
    blocked: float = 1.0  # for which part of the time it does not
    foci: int = 1  # number of places in the ventricles where V beats begin
    runs: float = 0.0  # the chance that a further V follows a V
    bigeminy: bool = False  # in turns of 20 s, every other beat is a V


PATIENTS = {
    # For training.
    "p01": Patient(72, "V5", {"A": 0.01, "V": 0.005}),
    "p02": Patient(68, "V1", {"V": 0.01, "F": 0.02}, bigeminy=True),
    "p03": Patient(78, "V1", {"A": 0.20, "V": 0.01}, sway=0.05),
    "p04": Patient(64, "V1", {"A": 0.03, "V": 0.01}, block="R", blocked=0.5),
    "p05": Patient(88, "V1", {"A": 0.01, "V": 0.14, "F": 0.11}, noise=1.3, foci=2),
    "p06": Patient(82, "V1", {"A": 0.01, "V": 0.05}, block="L"),
    "p07": Patient(60, "V5", {"A": 0.05, "V": 0.02, "F": 0.01}, sway=0.06),  # MLII is second, as in MIT-BIH 114
    "p08": Patient(75, "V2", {"A": 0.04, "V": 0.05, "F": 0.02}, noise=2.5, sway=0.05),
    # For testing.
    "p09": Patient(84, "V1", {"A": 0.01, "V": 0.12, "F": 0.10}),
    "p10": Patient(70, "V5", {"A": 0.03, "V": 0.04}, block="L", blocked=0.5, noise=1.5, sway=0.05),
    "p11": Patient(58, "V5", {"A": 0.02}, sway=0.11),
    "p12": Patient(66, "V1", {"A": 0.24, "V": 0.01}, noise=1.2),
    "p13": Patient(76, "V1", {"A": 0.05, "V": 0.04}, block="R"),
    "p14": Patient(80, "V1", {"A": 0.01, "V": 0.15, "F": 0.03}, foci=3, runs=0.25),
    "p15": Patient(92, "V2", {"A": 0.09, "V": 0.04, "F": 0.02}, noise=2.2, sway=0.06),
    "p16": Patient(74, "V5", {"A": 0.03, "V": 0.04, "F": 0.01}),
}


def coloured(random: Generator, count: int, rate: float, *peaks: tuple[float, float, float]) -> Array:
    """Return noise of variance 1, `count` samples, whose spectrum has these peaks: centre, width (Hz) and power."""
    frequency = np.fft.rfftfreq(count, 1 / rate)
    power = sum(share / width * np.exp(-(((frequency - centre) / width) ** 2) / 2) for centre, width, share in peaks)
    phase = random.uniform(0, 2 * np.pi, len(frequency))
    wave = np.fft.irfft(np.sqrt(power) * np.exp(1j * phase) * (frequency > 0), count)
    return wave / wave.std()


def rhythm(random: Generator, patient: Patient, breath: float) -> tuple[list[str], Array, Array]:
    """Return the kinds of the beats, their times (seconds), and times of P waves that no beat follows."""
    grid = 4  # values a second, as the heart rate varies slowly
    waves = coloured(random, 400 * grid, grid, (0.1, 0.01, random.uniform(0.3, 1.2)), (breath, 0.02, 1.0))
    intervals = 60 / patient.rate * (1 + patient.sway * waves)
    coupling = {"A": random.uniform(0.66, 0.82), "V": random.uniform(0.52, 0.76)}  # of an RR interval
    kinds, times, lone = ["N"], [random.uniform(0.1, 0.5)], []
    names, chances = ["N", *patient.early], list(patient.early.values())
    sinus = times[0]  # the last time at which the sinus node fired
    while times[-1] < LENGTH / RATE - 0.06:  # the peak may lie a little after it
        now, last = times[-1], kinds[-1]
        interval = intervals[int(sinus * grid)]
        kind = str(random.choice(names, p=[1 - sum(chances), *chances])) if last in "NF" else "N"
        if patient.bigeminy and last == "N" and now % 60 < 20:
            kind = "V"
        if last == "V" and random.random() < patient.runs:
            kind = "V"
        if kind == "V":
            # The ventricles do not wait for the sinus node, which goes on: full compensatory pause.
            time = now + interval * (coupling["V"] + random.normal(0, 0.02)) * (1.15 if last == "V" else 1)
            if last != "V":
                sinus += interval
                lone.append(sinus)
        elif kind == "A":
            # The early beat resets the sinus node, which is a little late after it: incomplete compensatory pause.
            time = now + interval * (coupling["A"] + random.normal(0, 0.05))
            sinus = time + interval * random.uniform(0.0, 0.2)
        else:
            sinus = max(sinus + interval, now + 0.85 * interval)
            time = sinus - (random.uniform(0, 0.03) if kind == "F" else 0)
        kinds.append(kind)
        times.append(time)
    return kinds[:-1], np.array(times[:-1]), np.array(lone)


def shapes(random: Generator, patient: Patient) -> dict[str, tuple[Array, Array]]:
    """Return the QRS complex and the other waves of each kind of beat of this patient, each (waves, 5) as above.

    V has one entry a focus: V0, V1, … P is what comes before each beat that starts in the sinus node.
    """
    size = random.uniform(0.7, 1.35)

    def own(waves: list[list[float]], amplitude: float = 1.0) -> Array:
        changed = np.array(waves)
        changed[:, :2] *= random.uniform(0.85, 1.2, 2)
        changed[:, 2:] *= size * amplitude * random.uniform(0.7, 1.35, (len(waves), 1))
        changed[:, 2:] += 0.2 * np.abs(changed[:, 2:]).max(axis=1, keepdims=True) * random.normal(size=(len(waves), 3))
        return changed

    p, t = own(P, random.uniform(0.8, 1.4)), own(T, random.choice([1.3, 1.0, 0.7, 0.35, -0.4]))
    p[:, 0] = np.array([-0.022, 0]) - random.uniform(0.135, 0.19)
    qrs = own([Q, R, S])
    qrs[1, 0] = 0
    found = {"P": (p[:0], p), "N": (qrs, t), "L": (own(LEFT_BLOCK), own(LEFT_BLOCK_T))}
    found["R"] = np.concatenate([qrs[:2], own(RIGHT_BLOCK)]), own(RIGHT_BLOCK_T)

    base = patient.block if patient.block and patient.blocked == 1 else "N"
    other = p.copy()  # the P wave from another place in the atria
    other[:, 0] += random.uniform(0.0, 0.05)
    other[:, 2:] *= random.choice([-0.9, 0.5, 1.3])
    conducted = found[base][0].copy()
    conducted[-1, 1] *= random.uniform(1, 1.4)  # the right bundle may still be tired
    found["A"] = conducted, np.concatenate([other, found[base][1]])

    for focus in range(patient.foci):
        # Up or down in MLII: from the outflow tract or the apex. Left or right ventricle: front or back.
        up, front = random.choice([1, 1, -1]), random.choice([-1, 1])
        axis = np.array([0.5 * up, 0.85 * up, 0.7 * front]) + random.normal(0, 0.2, 3)
        turn = axis + random.normal(0, 0.6, 3)
        slow, strong = random.uniform(0.95, 1.25), size * random.uniform(0.8, 1.5)
        first = [-0.01 * slow, 0.028 * slow, *(strong * axis)]
        second = [0.04 * slow, 0.026 * slow, *(random.uniform(0.2, 0.7) * strong * turn)]
        away = [0.27 * slow, 0.06 * slow, *(-random.uniform(0.3, 0.5) * strong * axis)]
        found[f"V{focus}"] = np.array([first, second]), np.array([away])
    return found


def draw(times: Array, waves: Array, signal: Array) -> None:
    """Add waves (beats, waves, 5) around these times (seconds) to the dipole (samples, 3)."""
    centre = (times[:, None] + waves[..., 0]).ravel()
    width, dipole = waves[..., 1].ravel(), waves[..., 2:].reshape(-1, 3)
    reach = int(np.ceil(4.5 * width.max() * RATE)) if len(centre) else 0
    index = np.round(centre * RATE).astype(int)[:, None] + np.arange(-reach, reach + 1)
    value = np.exp(-(((index / RATE - centre[:, None]) / width[:, None]) ** 2) / 2)
    inside = (index >= 0) & (index < len(signal))
    for axis in range(3):
        weight = (value * dipole[:, axis, None])[inside]
        signal[:, axis] += np.bincount(index[inside], weight, len(signal))


def make(name: str) -> tuple[Array, list[str], NDArray[np.int64], list[str]]:
    """Return signals in mV (samples, 2), the names of the leads, samples of the R peaks and the kinds of the beats."""
    patient = PATIENTS[name]
    random = np.random.default_rng([SEED, int(name[1:])])
    breath = random.uniform(0.2, 0.32)  # Hz
    drawn, times, lone = rhythm(random, patient, breath)
    kinds = np.array(drawn)
    kinds[(kinds == "N") & (times % 100 < 100 * patient.blocked)] = patient.block or "N"

    waves = shapes(random, patient)
    intervals = np.diff(times, prepend=times[0] - 60 / patient.rate)
    # Bazett's square root for the mean heart rate. A single early beat shortens the QT time by less.
    stretch = np.sqrt(60 / patient.rate) * (intervals * patient.rate / 60) ** 0.25
    foci = random.integers(patient.foci, size=len(kinds))
    fused = random.uniform(0.3, 0.7, len(kinds))  # how much of an F is ventricular
    breathing = 1 + 0.05 * np.sin(2 * np.pi * breath * times)  # the heart turns with each breath
    labels = np.where(kinds == "V", [f"V{focus}" for focus in foci], kinds)
    qrs, rest = np.zeros((LENGTH, 3)), np.zeros((LENGTH, 3))
    for shape, parts in waves.items():
        share = np.isin(kinds, list("NLRF") if shape == "P" else []) | (labels == shape)
        if shape in ("N", "V0"):
            share = np.where(kinds == "F", 1 - fused if shape == "N" else fused, share)
        chosen = share > 0
        for part, signal in zip(parts, (qrs, rest), strict=True):
            beats = np.repeat(part[None], chosen.sum(), axis=0)
            beats[..., :2] *= np.where(part[:, 0] > 0.15, stretch[chosen, None], 1)[..., None]  # T waves
            beats[..., 1] *= random.normal(1, 0.03, beats.shape[:2])
            beats[..., 2:] *= ((share * breathing)[chosen, None] * random.normal(1, 0.05, beats.shape[:2]))[..., None]
            draw(times[chosen], beats, signal)
    draw(lone, np.repeat(waves["P"][1][None], len(lone), axis=0), rest)

    names = [patient.second, "MLII"] if name == "p07" else ["MLII", patient.second]
    views = np.stack([LEADS[lead] + random.normal(0, 0.12, 3) for lead in names], axis=1)
    # An annotation lies at the main deflection in MLII: that of the mean, so that it stays on one of two equal humps.
    near = np.round(times * RATE).astype(int)[:, None] + np.arange(-20, 21)
    height = np.abs(qrs @ views[:, names.index("MLII")])[near]
    for label in set(labels) - {"F"}:
        height[labels == label] *= height[labels == label].mean(axis=0)
    peaks = near[np.arange(len(near)), height.argmax(axis=1)]
    return (qrs + rest) @ views + noise(random, patient, breath), names, peaks, kinds.tolist()


def noise(random: Generator, patient: Patient, breath: float) -> Array:
    """Return what disturbs both leads, in mV (samples, 2): wandering baseline, muscles, mains."""
    time = np.arange(LENGTH) / RATE
    both = []
    for _ in range(2):
        wander = coloured(random, LENGTH, RATE, (0, 0.08, 1.0), (breath, 0.03, 0.4))
        muscle = coloured(random, LENGTH, RATE, (30, 20, 0.7), (70, 30, 0.3))
        effort = np.exp(0.7 * coloured(random, LENGTH, RATE, (0, 0.1, 1.0)))  # muscles tense and relax
        mains = np.sin(2 * np.pi * 60.02 * time + random.uniform(0, 2 * np.pi))
        offset = random.normal(-0.15, 0.1)
        scale = patient.noise * random.uniform(0.7, 1.3, 3)
        both.append(offset + scale @ [0.1 * wander, 0.012 * muscle * effort, 0.012 * mains])
    return np.stack(both, axis=1)


def write(name: str, folder: Path) -> list[str]:
    """Write header, signals and annotations of a patient. Return the kinds of the beats."""
    signals, leads, peaks, kinds = make(name)
    record = wfdb.Record(
        record_name=name,
        fs=RATE,
        sig_name=leads,
        d_signal=np.round(signals * GAIN + ZERO).astype(int).clip(0, 2 * ZERO - 1),
        fmt=["212"] * 2,
        units=["mV"] * 2,
        adc_gain=[GAIN] * 2,
        baseline=[ZERO] * 2,
        adc_res=[11] * 2,
        adc_zero=[ZERO] * 2,
        comments=["Not a person: synthesised", f"By data/make_heartbeats_sample.py, seed {SEED}, of this course"],
    )
    record.set_d_features()
    record.set_defaults()
    record.wrsamp(write_dir=str(folder))
    notes = ["(N"] + [""] * len(kinds)
    # A rhythm first, as in MIT-BIH.
    wfdb.wrann(name, "atr", np.array([0, *peaks]), ["+", *kinds], aux_note=notes, write_dir=str(folder))
    return kinds


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Make the heartbeats sample.")
    parser.add_argument("--output", type=Path, default=Path(__file__).with_name("heartbeats_sample"))
    folder = parser.parse_args().output
    folder.mkdir(parents=True, exist_ok=True)
    total: Counter[str] = Counter()
    print("record", *(f"{kind:>5}" for kind in KINDS), sep="")
    for name in PATIENTS:
        counts = Counter(write(name, folder))
        total += counts
        print(f"{name:6}", *(f"{counts[kind]:5}" for kind in KINDS), sep="")
    print("all   ", *(f"{total[kind]:5}" for kind in KINDS), sep="")
    files = sorted(path for path in folder.iterdir() if path.stem in PATIENTS)
    sums = [f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.name}\n" for path in files]
    folder.with_suffix(".sha256").write_text("".join(sums), encoding="ascii")
