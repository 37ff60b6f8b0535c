"""Where the open demo of eICU-CRD is published."""

from __future__ import annotations

from eagbench.api import DataSource, SourceFile
from eagbench_plugins.datasets.eicu.tables import EVENTS, PATIENT

DEMO_CITATION = (
    "Pollard et al., The eICU Collaborative Research Database, Scientific Data 5, 180178 (2018). Data: eICU "
    "Collaborative Research Database Demo 2.0.1, PhysioNet, ODbL 1.0."
)
DEMO = DataSource(
    name="eicu-demo",
    title="eICU-CRD Demo 2.0.1, some 2,500 unit stays",
    url="https://physionet.org/files/eicu-crd-demo/2.0.1/",
    page="https://physionet.org/content/eicu-crd-demo/2.0.1/",
    files=tuple(SourceFile(path=f"{table.file}.gz") for table in (PATIENT, *EVENTS.values())),
    checksums="SHA256SUMS.txt",
    licence="Open Data Commons Open Database License 1.0 (ODbL)",
    licence_url="https://opendatacommons.org/licenses/odbl/1-0/",
    citation=DEMO_CITATION,
    params={"access": "open"},
)
