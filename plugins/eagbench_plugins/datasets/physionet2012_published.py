"""Where set A of the PhysioNet/Computing in Cardiology Challenge 2012 is published."""

from __future__ import annotations

from eagbench.api import DataSource, SourceFile

CITATION = (
    "Silva I, Moody G, Scott DJ, Celi LA, Mark RG. Predicting in-hospital mortality of ICU patients: "
    "the PhysioNet/Computing in Cardiology Challenge 2012. Computing in Cardiology 39, 245-248 (2012). "
    "Data: PhysioNet, ODC-BY 1.0."
)
SET_A = DataSource(
    name="physionet2012",
    title="PhysioNet/CinC Challenge 2012, set A: 4,000 ICU stays",
    url="https://physionet.org/files/challenge-2012/1.0.0/",
    page="https://physionet.org/content/challenge-2012/1.0.0/",
    files=(
        SourceFile(path="set-a.tar.gz", sha256="a51b9c78cd3e27208e89851a5f0b8de77f59bb23ca1af4eca45a9691f3317b8e"),
        SourceFile(path="Outcomes-a.txt", sha256="2613ea60ccda29f87571a7d6b09ad130858a8ccd66325bd073365925026883c2"),
    ),
    licence="Open Data Commons Attribution License 1.0 (ODC-BY)",
    licence_url="https://opendatacommons.org/licenses/by/1-0/",
    citation=CITATION,
)
