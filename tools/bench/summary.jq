# SPDX-License-Identifier: GPL-2.0
# From the lines of guest.sh to a table: medians, and ratios ours/nbd with their spread over the
# turns. For IOPS and MB/s a ratio above 1 is good, for latency and CPU one below 1.

def median: sort | if length % 2 == 1 then .[length / 2 | floor]
	else (.[length / 2 - 1] + .[length / 2]) / 2 end;
def round2: . * 100 | round / 100;
def ratio($field; $ours; $theirs):
	[$ours, $theirs] | transpose | map(.[0][$field] / .[1][$field])
	| "\(median | round2) (\(min | round2)..\(max | round2))";

"job                 IOPS sheep/nbd     ratio (spread)         MB/s ratio             p99 ratio              CPU/IO ratio",
(group_by(.job)[] | (map(select(.device == "sheepa")) | sort_by(.turn)) as $ours
	| (map(select(.device == "nbd0")) | sort_by(.turn)) as $theirs
	| [ (.[0].job + " " * 20)[:18],
	    ("\($ours | map(.iops) | median | round)/\($theirs | map(.iops) | median | round)" + " " * 20)[:17],
	    (ratio("iops"; $ours; $theirs) + " " * 24)[:21],
	    (ratio("mb_per_s"; $ours; $theirs) + " " * 24)[:21],
	    (ratio("p99_us"; $ours; $theirs) + " " * 24)[:21],
	    ratio("cpu_us_per_io"; $ours; $theirs) ]
	| join("  "))
