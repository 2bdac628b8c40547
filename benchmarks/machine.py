"""The machine that a figure belongs to."""

import os
import platform
from dataclasses import dataclass
from pathlib import Path

import confluent_kafka
import onnxruntime

from streamsplit.kafka.jars import KAFKA_VERSION


@dataclass(frozen=True, slots=True)
class Machine:
    """What figures depend on.

    Attributes:
        cores: Processors that this process may use; brokers, load and what is measured share them.
        cpu: Model name of the processor.
        memory_gib: Main memory.
        kernel: Name and release of the operating system.
        python: Version of Python.
        kafka: Version of the brokers.
        librdkafka: Version of the client library.
        onnxruntime: Version of ONNX Runtime.
        load_before: Load average of the minute before the first measurement; well below 1 on a quiet machine.
    """

    cores: int
    cpu: str
    memory_gib: float
    kernel: str
    python: str
    kafka: str
    librdkafka: str
    onnxruntime: str
    load_before: float

    @classmethod
    def this(cls) -> "Machine":
        """The machine that this process runs on, before it has loaded it."""
        return cls(
            cores=len(os.sched_getaffinity(0)),
            cpu=_cpu(),
            memory_gib=round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
            kernel=f"{platform.system()} {platform.release()}",
            python=platform.python_version(),
            kafka=KAFKA_VERSION,
            librdkafka=confluent_kafka.libversion()[0],
            onnxruntime=onnxruntime.__version__,
            load_before=round(os.getloadavg()[0], 2),
        )

    def sentence(self) -> str:
        """All of it, for a person."""
        return (
            f"{self.cpu}, {self.cores} cores shared by broker, load and what is measured; {self.memory_gib:g} GiB; "
            f"{self.kernel}; Python {self.python}, Kafka {self.kafka}, librdkafka {self.librdkafka}, ONNX Runtime "
            f"{self.onnxruntime}; load average before: {self.load_before:g}"
        )


def _cpu() -> str:
    information = Path("/proc/cpuinfo")
    lines = information.read_text("utf-8").splitlines() if information.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()
