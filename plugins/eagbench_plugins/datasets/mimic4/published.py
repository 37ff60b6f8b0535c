"""Where the open demo of MIMIC-IV is published."""

from __future__ import annotations

from eagbench.api import DataSource, SourceFile
from eagbench_plugins.datasets.mimic4.tables import READ_TABLES

DEMO_CITATION = (
    "Johnson A, Bulgarelli L, Pollard T, Horng S, Celi LA, Mark R. MIMIC-IV Clinical Database Demo (version 2.2). "
    "PhysioNet (2023), doi 10.13026/dp1f-ex47. Data: PhysioNet, ODbL 1.0."
)
DEMO_PATIENTS = 100
DEMO = DataSource(
    name="mimic4-demo",
    title="MIMIC-IV Clinical Database Demo 2.2, 100 patients",
    url="https://physionet.org/files/mimic-iv-demo/2.2/",
    page="https://physionet.org/content/mimic-iv-demo/2.2/",
    files=tuple(SourceFile(path=f"{table.file}.gz") for table in READ_TABLES),
    checksums="SHA256SUMS.txt",
    licence="Open Data Commons Open Database License 1.0 (ODbL)",
    licence_url="https://opendatacommons.org/licenses/odbl/1-0/",
    citation=DEMO_CITATION,
    params={"access": "open"},
)
