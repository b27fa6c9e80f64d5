// Package script runs the demonstrations in demos/: text files of kubectl, curl and dig commands with
// what they must print. It is testscript (of Go's own tests) with a running cluster behind it.
//
// Programs. Each runs as a person would type it; its output is looked at by the lines after it.
//
//	kubectl ARGS...          the built-in kubectl, as the cluster's administrator
//	fairlead ARGS...         the program itself; $DATA is the cluster's data directory
//	node NODE CMD...         a command inside a lab node's network namespace
//	curl ARGS..., dig ARGS.. from the host
//	sh 'LINE'                a shell line, for pipes; kubectl and fairlead are in its PATH
//	times N PROGRAM ARGS...  any of these N times, the outputs one after the other
//	let NAME PROGRAM ARGS... any of these; $NAME becomes what it prints
//
// Machines outside of the cluster, on the network of its nodes:
//
//	outside NAME ADDRESS...  makes one with addresses, which need not be of the nodes' range
//	start NAME PROGRAM...    starts a program on it, which runs on; its output goes to NAME.log
//	on NAME CMD...           a command on it, a program like those above
//	halt NAME...             ends what runs on them
//	gone NAME...             does so and takes them away
//
// Misfortunes of a node's agent, which the script's end undoes:
//
//	freeze NODE...           it answers nothing any more; the kernel goes on
//	thaw NODE...             and answers again
//	crash NODE...            it is killed, and started again by the lab
//
// A cluster of the script's own, for what needs other flags than all scripts share. Each line after it means that one;
// it ends with the script, which fails if the host then has anything left of it.
//
//	cluster [--nodes N] [FLAG...]   fairlead up with these flags
//
// Checks of the last program's output, besides testscript's own stdout, stderr and cmp:
//
//	like FILE                the output has FILE's form (below)
//	distinct N REGEXP        the first group of REGEXP matches N different texts
//
// Waiting. Nothing sleeps: a line that begins with a star is repeated until it holds, for a minute or
// for the duration that follows the star.
//
//   - stdout 'Running'       runs the last program again until its output matches
//   - like pods.txt          the same with any other check; "* ! stdout x" until it does not match
//   - curl -f http://...     runs the program until it succeeds; "* ! curl ..." until it fails
//
// Cleaning up. Every script takes a snapshot first and proves at its end that nothing is left: no
// object of any kind, no rule, link or route on any node, no process in a pod, and no machine outside. The snapshot
// is of a cluster at rest: two listings in a row that are alike.
//
//	snapshot
//	nothing-left
//
// Forms. A file for like is the output with the parts that a person does not choose replaced:
// {ip}, {ip6}, {age}, {int}, {word} (no space), {id} (letters and digits) and {any}. Two or more spaces match
// two or more, since columns are as wide as their widest cell.
package script
