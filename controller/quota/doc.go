// Package quota keeps the statuses of ResourceQuotas: how much of each limit is used. What counts how much is upstream's to say, by
// the evaluators that admission counts by too.
//
// Admission adds what is made; this controller counts anew when a quota or its limits change, when something that is counted goes or
// changes, and every few minutes. Pods and Services are read from the caches of the other controllers. Of everything else only the
// metadata is watched, and only while some quota names it; without quotas there is nothing but an empty cache.
package quota
