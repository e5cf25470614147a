# SPDX-License-Identifier: GPL-2.0
# From the lines of run_job (jobs.sh) to a table: medians, and ratios of the subject $ours to the
# subject $theirs with their spread over the turns. For IOPS and MB/s a ratio above 1 is good, for
# latency and CPU one below 1.

def median: sort | if length % 2 == 1 then .[length / 2 | floor]
	else (.[length / 2 - 1] + .[length / 2]) / 2 end;
def round2: . * 100 | round / 100;
def ratio($field; $ours; $theirs):
	[$ours, $theirs] | transpose | map(.[0][$field] / .[1][$field])
	| "\(median | round2) (\(min | round2)..\(max | round2))";

"job                 IOPS               ratio (spread)         MB/s ratio             p99 ratio              CPU/IO ratio",
(group_by(.job)[] | (map(select(.subject == $ours)) | sort_by(.turn)) as $ours
	| (map(select(.subject == $theirs)) | sort_by(.turn)) as $theirs
	| [ (.[0].job + " " * 20)[:18],
	    ("\($ours | map(.iops) | median | round)/\($theirs | map(.iops) | median | round)" + " " * 20)[:17],
	    (ratio("iops"; $ours; $theirs) + " " * 24)[:21],
	    (ratio("mb_per_s"; $ours; $theirs) + " " * 24)[:21],
	    (ratio("p99_us"; $ours; $theirs) + " " * 24)[:21],
	    ratio("cpu_us_per_io"; $ours; $theirs) ]
	| join("  "))
