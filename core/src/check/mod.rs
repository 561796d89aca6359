//! Health checks: schedule, probes, verdicts.
