"""The report, in a real browser where one is installed."""

import html
import json
import re
import shutil
import subprocess

import numpy as np
import pytest

from keras_simclr.evaluation import LabelEfficiency
from keras_simclr.report import write_report
from keras_simclr.report.page import _apart

pytest.importorskip("jinja2")
pytestmark = [pytest.mark.once, pytest.mark.usefixtures("eager")]
BROWSER = shutil.which("chromium") or shutil.which("google-chrome")
HISTORY = {
    "loss": [3.0, 2.5, 2.0, 1.9, 1.8, 1.7],
    "relative_loss": [0.9, 0.8, 0.7, 0.6, 0.55, 0.5],
    "contrastive_accuracy": [0.1, 0.2, 0.3, 0.4, 0.5, 0.6],
}
NAMES = [f"folder/image {number}.png" for number in range(24)]
NAMES[3] = "<script>alert(1)</script>.png"

# Run inside of the page: colors, what is wider than the page, what hovering over a point shows.
PROBE = """
<script>
addEventListener("load", () => {
  const luminance = color => color.match(/[\\d.]+/g).slice(0, 3).map(Number).map(v => v / 255)
    .map(v => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
    .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
  const page = luminance(getComputedStyle(document.body).backgroundColor);
  const contrast = element => {
    const [a, b] = [page, luminance(getComputedStyle(element).color)].sort();
    return (b + 0.05) / (a + 0.05);
  };
  const circle = document.querySelectorAll("circle")[3];
  circle.dispatchEvent(new PointerEvent("pointerover", { bubbles: true }));
  parent.postMessage({
    page, width: innerWidth,
    needed: document.documentElement.scrollWidth,
    contrast: Math.min(...[...document.querySelectorAll("p, th, td, h2, dt, dd")].map(contrast)),
    broken: [...document.images].filter(image => !image.naturalWidth).length,
    images: document.images.length,
    classes: [...document.querySelectorAll("text")].map(e => e.textContent),
    tip: document.getElementById("tip").innerText,
    shown: document.getElementById("tip").offsetHeight > 0,
    scripts: document.scripts.length,
    sections: [...document.querySelectorAll("h2")].map(e => e.innerText),
  }, "*");
});
</script>
"""
FRAME = """
<body style="margin: 0"><iframe src="{page}" width="{width}" height="900"></iframe><pre></pre>
<script>
addEventListener("message", event => {{
  document.querySelector("pre").textContent = JSON.stringify(event.data);
}});
</script></body>
"""


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    import keras

    from keras_simclr import SimCLR, SimCLRAugmenter

    keras.utils.set_random_seed(0)
    images = np.random.default_rng(0).integers(0, 256, (24, 16, 12, 3), "uint8")
    backbone = keras.layers.Conv2D(8, 3)
    model = SimCLR(backbone, augmenter=SimCLRAugmenter((16, 12), seed=1), seed=0)
    model.build((None, 16, 12, 3))
    return write_report(
        tmp_path_factory.mktemp("report") / "report.html",
        model,
        images,
        history=HISTORY,
        labels=np.arange(24) % 3,
        class_names=["cat", "dog", "fox & hound"],
        names=NAMES,
        title="A run of <cats>",
        settings={"batch size": 256, "images": "a & b"},
    )


@pytest.mark.every_backend
def test_the_page_needs_no_other_file(report):
    text = report.read_text()
    sources = re.findall(r"(?:src|href)=\"([^\"]*)|url\(\"([^\"]*)", text)
    assert len(sources) == 5
    assert all("".join(source).startswith("data:image/") for source in sources)


def test_names_and_settings_are_escaped(report):
    text = report.read_text()
    assert "A run of &lt;cats&gt;" in text
    assert "<script>alert" not in text
    assert "fox &amp; hound: folder/image 2.png" in text
    assert "a &amp; b" in text


def test_the_page_says_what_the_numbers_mean(report):
    text = html.unescape(report.read_text())
    assert "The loss ended at 1.70. A collapsed model has 3.40" in text
    assert "The features use" in text
    assert "The nearest neighbors predict the class of" in text


@pytest.mark.skipif(BROWSER is None, reason="no Chromium")
@pytest.mark.parametrize("width", [360, 1280])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_page_in_a_browser(report, tmp_path, width, scheme):
    page = report.read_text().replace("</body>", PROBE + "</body>")
    (tmp_path / "page.html").write_text(page)
    (tmp_path / "frame.html").write_text(FRAME.format(page="page.html", width=width))
    found = browse(tmp_path / "frame.html", tmp_path / "profile", scheme)
    assert (found["page"] > 0.9) == (scheme == "light")
    assert found["width"] == width
    assert found["needed"] <= width
    assert found["contrast"] >= 4.5
    assert found["images"] == 4 and found["broken"] == 0
    assert found["shown"] and found["tip"].strip() == "cat: <script>alert(1)</script>.png"
    assert found["scripts"] == 2
    assert sorted(found["classes"]) == ["cat", "dog", "fox & hound"]
    assert found["sections"] == [
        "Training",
        "Embeddings",
        "Nearest neighbors",
        "Health of the features",
        "Views",
        "Settings",
    ]


def browse(page, profile, scheme):
    """Return what the probe in a page found."""
    color = {"dark": 0, "light": 1}[scheme]
    command = [
        BROWSER,
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        f"--user-data-dir={profile}",
        f"--blink-settings=preferredColorScheme={color}",
        "--window-size=1400,1000",
        "--virtual-time-budget=5000",
        "--dump-dom",
        page.as_uri(),
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    found = re.search("<pre>(.+?)</pre>", done.stdout, re.DOTALL)
    return json.loads(html.unescape(found.group(1)))


def test_the_accuracy_with_few_labels_is_shown(tmp_path, make_model):
    model = make_model()
    result = LabelEfficiency({"linear probe": {4: [0.25], 8: [0.75]}}, {4: "a", 8: "b"}, 2, "how")
    images = np.zeros((10, 8, 8, 3), "uint8")
    write_report(tmp_path / "a.html", model, images, label_efficiency=result)
    text = (tmp_path / "a.html").read_text()
    assert "Accuracy with few labels" in text and "75.0" in text


def test_names_on_the_map_do_not_cover_each_other():
    placed = _apart({"cat": [500, 500], "dog": [505, 510], "far": [10, 500], "fox": [500, 520]})
    assert placed == {"cat": [500, 500], "far": [10, 500], "dog": [505, 530], "fox": [500, 560]}


@pytest.mark.parametrize("name", ["labels", "names"])
def test_lengths_that_differ_are_refused(name, tmp_path, make_model):
    with pytest.raises(ValueError, match=f"`{name}` and `images` must have the same length"):
        write_report(tmp_path / "a.html", make_model(), np.zeros((10, 8, 8, 3)), **{name: [0]})
    assert not list(tmp_path.iterdir())


def test_too_few_images_are_refused(tmp_path, make_model):
    with pytest.raises(ValueError, match="at least 9 images. Received: 3"):
        write_report(tmp_path / "a.html", make_model(), np.zeros((3, 8, 8, 3)))
