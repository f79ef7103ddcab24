from __future__ import annotations

import json

import pytest

from dse.architecture import PRESETS


def described(run, *args) -> dict:
    result = run("describe", *args, "--json")
    assert (result.exit_code, result.stderr) == (0, "")
    return json.loads(result.stdout)


@pytest.mark.parametrize(
    ("preset", "params_count"),
    [
        ("squeezenet_v1.0", 1_248_424),
        ("squeezenet_v1.1", 1_235_496),
        ("alexnet", 60_965_224),
        ("alexnet_torchvision", 61_100_840),
        ("alexnet_small", 23_272_266),
    ],
)
def test_published_parameter_counts(run, preset, params_count):
    assert described(run, preset)["params_count"] == params_count


@pytest.mark.parametrize(
    ("ratio", "params_count"),
    [(0.125, 1_248_424), (0.25, 1_967_080), (0.5, 3_404_392), (0.75, 4_841_704), (1, 6_279_016)],
)
def test_squeeze_ratios_of_the_paper(run, ratio, params_count):
    document = described(run, "squeezenet_v1.0", "--set", f"squeeze_ratio={ratio}")
    assert document["params_count"] == params_count
    assert document["metaparameters"]["squeeze_ratio"] == ratio


def test_document_of_squeezenet(run):
    document = described(run, "squeezenet_v1.0")
    layers = document.pop("layers")
    metaparameters = document.pop("metaparameters")
    del document["deployment"]  # below
    assert document == {
        "network": "squeezenet_v1.0",
        "candidate": PRESETS["squeezenet_v1.0"].candidate.key,
        "family": "squeezenet",
        "input_shape": [227, 227, 3],
        "classes_count": 1000,
        "params_count": 1_248_424,
        "macs": 832_667_936,
        "weight_bytes": 4 * 1_248_424,
        # pool1 holds its input, 111 x 111 x 96, and its output, 55 x 55 x 96.
        "peak_activation_bytes": 4 * 96 * (111 * 111 + 55 * 55),
        "peak_layer": "pool1",
    }
    assert metaparameters["pools"] == ["conv1", "fire4", "fire8"]
    assert layers[0] == {
        "name": "conv1",
        "kind": "Conv",
        "output_shape": [111, 111, 96],
        "params_count": 7 * 7 * 3 * 96 + 96,
        "macs": 111 * 111 * 7 * 7 * 3 * 96,
        "weight_bytes": 4 * (7 * 7 * 3 * 96 + 96),
        "activation_bytes": 4 * (227 * 227 * 3 + 111 * 111 * 96),
    }
    for total in ("params_count", "macs", "weight_bytes"):
        assert sum(layer[total] for layer in layers) == document[total]


def test_input_and_classes_change_the_network(run):
    document = described(run, "squeezenet_v1.0", "--input", "64X48x1", "--classes", "10")
    assert (document["input_shape"], document["classes_count"]) == ([64, 48, 1], 10)
    stem, last = 7 * 7 * 2 * 96, 990 * (512 + 1)  # two input channels and 990 classes fewer
    assert document["params_count"] == 1_248_424 - stem - last


def test_family_starts_from_its_defaults_at_224_pixels(run):
    document = described(run, "squeezenet", "--set", "pools=[conv1, fire3]")
    assert (document["input_shape"], document["classes_count"]) == ([224, 224, 3], 1000)
    assert document["metaparameters"]["dropout"] == 0.0
    assert document["metaparameters"]["pools"] == ["conv1", "fire3"]


def test_candidate_of_a_study_has_its_images_and_classes(run, toy_keys):
    document = described(run, f"toy/{toy_keys[0.25]}")
    assert document["candidate"] == toy_keys[0.25]
    assert (document["input_shape"], document["classes_count"]) == ([8, 8, 1], 10)
    assert document["metaparameters"]["squeeze_ratio"] == 0.25
    assert document["metaparameters"]["pools"] == ["conv1", "fire2"]
    assert document["metaparameters"]["stem_filters"] == "auto"


def test_candidate_can_be_changed_too(run, toy_keys):
    changed = described(run, f"results/toy/{toy_keys[0.25]}", "--set", "squeeze_ratio=1")
    assert changed["candidate"] == toy_keys[1.0]


@pytest.mark.parametrize("preset", PRESETS)
def test_tables_of_presets_fit_80_columns(run, preset):
    result = run("describe", preset)
    assert result.exit_code == 0
    assert max(map(len, result.stdout.splitlines())) <= 80


def test_tables_show_layers_and_totals(run):
    lines = run("describe", "squeezenet_v1.0", "--set", "bypass=simple").stdout.splitlines()
    assert lines[1] == "input 227x227x3, 1,000 classes"
    rows = {line.split()[0]: line.split() for line in lines if line}
    assert rows["fire2"] == [
        "fire2",
        "fire",
        "16→64+64",
        "55x55x128",
        "11,920",
        "35,622,400",
        "1,742,400",
    ]
    assert rows["fire3"][1:4] == ["fire", "16→64+64", "simple"]
    assert rows["pool1"] == ["pool1", "max", "pool", "3x3/2", "55x55x96", "–", "–", "5,892,864"]
    assert "parameters        1,248,424" in lines
    assert "weights           4,993,696 bytes (4.99 MB, float32)" in lines
    assert "peak activations  5,892,864 bytes (5.89 MB) at pool1" in lines
    assert "bypass            simple" in lines


@pytest.mark.parametrize(
    ("args", "status", "message"),
    [
        (
            ["squeezenet_v1.2"],
            1,
            "preset or family 'squeezenet_v1.2' not found; did you mean squeezenet_v1.1?",
        ),
        (
            ["alexnett"],
            1,
            "preset or family 'alexnett' not found; did you mean alexnet?",
        ),
        (
            ["squeezenet", "--input", "32x32"],
            2,
            "--input is '32x32', but must be HEIGHTxWIDTHxCHANNELS in pixels, for example 32x32x3",
        ),
        (
            ["squeezenet", "--input", "0x32x3"],
            2,
            "--input is '0x32x3', but must be HEIGHTxWIDTHxCHANNELS in pixels, for example 32x32x3",
        ),
        (
            ["squeezenet", "--set", "base_e=1"],
            1,
            "fire2: squeeze_ratio 0.125 of 1 expand filters rounds to an empty squeeze; "
            "a larger base_e or a share nearer the middle would help",
        ),
        (
            ["toy/12"],
            1,
            "study 'toy' not found: results holds none; `dse sweep` and `dse search` make one, "
            "and --results says where they are",
        ),
    ],
)
def test_errors(run, args, status, message):
    result = run("describe", *args)
    assert (result.exit_code, result.stdout, result.stderr) == (status, "", f"error: {message}\n")


def test_alexnet_and_squeezenet_side_by_side_by_hand(run):
    document = described(run, "alexnet", "squeezenet_v1.0", "--workers", "8", "--link", "1Gbit")
    alexnet, squeezenet = document["networks"]
    assert (alexnet["params_count"], squeezenet["params_count"]) == (60_965_224, 1_248_424)
    assert round(document["ratios"][1]["params_count"], 1) == 48.8
    # Each of 8 workers sends 2 · 7/8 of 4 bytes a parameter: 7 bytes a parameter.
    exchanges = [network["deployment"]["gradient_exchange"] for network in document["networks"]]
    assert [exchange["sent_bytes"] for exchange in exchanges] == [426_756_568, 8_738_968]
    assert [exchange["gradient_bytes"] for exchange in exchanges] == [243_860_896, 4_993_696]
    assert exchanges[0]["least_s"] == pytest.approx(3.414052544)
    assert exchanges[1]["link_bits_per_s"] == 10**9
    assert document["ratios"][0] == {
        "network": "alexnet",
        **dict.fromkeys(
            ("params_count", "macs", "weight_bytes", "peak_activation_bytes", "sent_bytes"), 1.0
        ),
        "latency_median_s": None,
    }
    # SqueezeNet holds more while it runs: norm1 of AlexNet has 55 x 55 x 96 in and out.
    assert document["ratios"][1]["peak_activation_bytes"] == 2 * 55 * 55 * 96 / (
        96 * (111 * 111 + 55 * 55)
    )


def test_sheet_of_one_network(run):
    sheet = described(run, "squeezenet_v1.0", "--ota", "1Mbit", "--device", "stm32h743")[
        "deployment"
    ]
    assert sheet["footprint"]["int8"] == {
        "weight_bytes": 1_248_424,
        "peak_activation_bytes": 1_473_216,
        "total_bytes": 2_721_640,
    }
    assert sheet["over_the_air"]["fp16"] == {"update_bytes": 2_496_848, "least_s": 19.974784}
    assert sheet["peak_layer"] == "pool1"
    assert "in place" in sheet["peak_assumption"]
    assert sheet["latency"] is None
    (device,) = sheet["devices"]
    assert (device["name"], device["ram_bytes"], device["flash_bytes"]) == (
        "STM32H743",
        2**20,
        2**21,
    )
    assert device["weights_fit"] == {"fp32": False, "fp16": False, "int8": True}
    assert device["weights_and_activations_fit"]["int8"] is False


def test_sheet_in_the_terminal(run):
    lines = run("describe", "squeezenet_v1.0", "--workers", "3").stdout.splitlines()
    cells = [line.split() for line in lines]
    assert ["weights", "4,993,696", "2,496,848", "1,248,424"] in cells
    assert ["together", "10,886,560", "5,443,280", "2,721,640"] in cells
    assert ["update", "over", "the", "air,", "10Mbit", "3.99", "s", "2", "s", "999", "ms"] in cells
    assert ["XC7VX690T", "FPGA", "6,615", "KB", "shared", "weights", "all", "all"] in cells
    assert ["nRF52840", "microcontroller", "1,024", "KB", "256", "KB", "–", "–", "–"] in cells
    # 4/3 of 4,993,696 bytes is 6,658,261.33…
    assert any(line.startswith("all-reduce  6,658,262 bytes from each of 3") for line in lines)
    assert "least time  53.3 ms at 1Gbit" in lines


def test_comparison_in_the_terminal(run):
    args = ("alexnet", "squeezenet_v1.0", "--device", "XCKU040")
    lines = run("describe", *args).stdout.splitlines()
    cells = [line.split() for line in lines]
    assert ["parameters", "60,965,224", "1,248,424", "48.8x"] in cells
    assert ["peak", "activations,", "bytes", "2,323,200", "5,892,864", "0.394x"] in cells
    assert ["at", "layer", "norm1", "pool1", "–"] in cells
    assert ["least", "time", "at", "1Gbit", "3.41", "s", "69.9", "ms", "48.8x"] in cells
    # 600 blocks are 2,764,800 bytes: 2,496,848 fit, and 1,248,424 with 1,473,216 do.
    expected = ["XCKU040", "2,700", "KB", "shared", "–", "/", "–", "fp16", "/", "int8"]
    assert expected in cells
    assert max(map(len, lines)) <= 80


def test_settings_hold_for_every_network(run):
    document = described(run, "squeezenet_v1.0", "squeezenet_v1.1", "--set", "bypass=simple")
    assert [n["metaparameters"]["bypass"] for n in document["networks"]] == ["simple", "simple"]


def test_one_worker_exchanges_nothing(run):
    document = described(run, "alexnet", "squeezenet_v1.0", "--workers", "1")
    sent = [n["deployment"]["gradient_exchange"]["sent_bytes"] for n in document["networks"]]
    assert sent == [0, 0]
    assert document["ratios"][1]["sent_bytes"] is None
    assert run("describe", "alexnet", "alexnet", "--workers", "1").exit_code == 0


def test_weights_file_is_described_from_its_header(run, tmp_path):
    from tests.weights.test_header import CANDIDATE, write

    (tmp_path / "deep").mkdir()
    write(tmp_path / "deep" / "Mine.safetensors")
    document = described(run, "deep/Mine.safetensors")
    assert (document["network"], document["candidate"]) == ("Mine.safetensors", CANDIDATE.key)
    assert (document["input_shape"], document["classes_count"]) == ([8, 9, 1], 3)
    result = run("describe", "gone.safetensors")
    assert (result.exit_code, result.stderr) == (
        1,
        "error: gone.safetensors: no such weights file\n",
    )


def test_latency_is_measured_only_where_it_is_asked_for(run, monkeypatch):
    from dse.training import latency

    seconds = {"squeezenet": 0.0125, "alexnet": 0.05}
    monkeypatch.setattr(
        latency,
        "measure_latency",
        lambda candidate, *_: latency.Latency(seconds[candidate.family], 0.0999, 40),
    )
    args = ("alexnet_small", "squeezenet_v1.0", "--latency")
    document = described(run, *args)
    assert document["networks"][1]["deployment"]["latency"] == {
        "median_s": 0.0125,
        "p95_s": 0.0999,
        "runs_count": 40,
    }
    assert document["ratios"][1]["latency_median_s"] == 4.0
    lines = [" ".join(line.split()) for line in run("describe", *args).stdout.splitlines()]
    assert "latency, median (95th percentile) 50 ms (99.9 ms) 12.5 ms (99.9 ms) 4x" in lines
    one = run("describe", "squeezenet_v1.0", "--latency").stdout
    assert "median 12.5 ms, 95th percentile 99.9 ms; one image, one CPU thread" in one


@pytest.mark.parametrize(
    ("args", "status", "message"),
    [
        (["--link", "1 Gig"], 2, "--link is '1 Gig', but must be a speed above 0"),
        (["--ota", "0Mbit"], 2, "--ota is '0Mbit', but must be a speed above 0"),
        (["--device", "RP2041"], 1, "device 'RP2041' not found; did you mean RP2040?"),
    ],
)
def test_errors_of_the_sheet(run, args, status, message):
    result = run("describe", "squeezenet_v1.0", *args)
    assert (result.exit_code, result.stdout) == (status, "")
    assert result.stderr.startswith(f"error: {message}")
