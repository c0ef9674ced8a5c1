"""
Metrics of batch jobs, which end before anybody scrapes them: to a Pushgateway, node_exporter or by remote write.

```python
with push_on_exit("http://pushgateway:9091", job="nightly-report"):
    ...
```
"""

from __future__ import annotations

from vitalsign.push._credentials import ConnectionOptions
from vitalsign.push._gateway import Method, delete, push
from vitalsign.push._job import BatchJob
from vitalsign.push._on_exit import push_on_exit, remote_write_on_exit, textfile_on_exit
from vitalsign.push._remote_write import remote_write
from vitalsign.push._textfile import write_textfile

__all__ = [
    "BatchJob",
    "ConnectionOptions",
    "Method",
    "delete",
    "push",
    "push_on_exit",
    "remote_write",
    "remote_write_on_exit",
    "textfile_on_exit",
    "write_textfile",
]
