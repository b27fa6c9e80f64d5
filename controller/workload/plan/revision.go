package plan

import (
	"cmp"
	"encoding/json"
	"fmt"
	"hash/fnv"
	"slices"
	"strconv"
	"strings"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apiequality "k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/rand"
)

// The annotations by which a Deployment and its ReplicaSets tell their history
// (rule D33); kubectl rollout reads them.
const (
	RevisionKey = "deployment.kubernetes.io/revision"
	historyKey  = "deployment.kubernetes.io/revision-history"
	desiredKey  = "deployment.kubernetes.io/desired-replicas"
	maxKey      = "deployment.kubernetes.io/max-replicas"
	rollbackKey = "deprecated.deployment.rollback.to"
)

// SameTemplate compares two pod templates without the label that the hash adds.
func SameTemplate(a, b *corev1.PodTemplateSpec) bool {
	return apiequality.Semantic.DeepEqual(withoutHash(a), withoutHash(b))
}

func withoutHash(t *corev1.PodTemplateSpec) *corev1.PodTemplateSpec {
	if _, ok := t.Labels[appsv1.DefaultDeploymentUniqueLabelKey]; !ok {
		return t
	}
	t = t.DeepCopy()
	delete(t.Labels, appsv1.DefaultDeploymentUniqueLabelKey)
	return t
}

// templateHash names a template: FNV-1a of its JSON (whose map keys are sorted)
// and of the collision count, in an alphabet without vowels. It only has to be
// stable while a ReplicaSet is being created; afterwards sets are found by
// comparing templates.
func templateHash(t *corev1.PodTemplateSpec, collisions *int32) string {
	h := fnv.New32a()
	if err := json.NewEncoder(h).Encode(t); err != nil {
		panic(fmt.Sprintf("BUG: pod template does not encode: %v", err)) // it came from JSON
	}
	if collisions != nil {
		fmt.Fprintf(h, "%d", *collisions)
	}
	return rand.SafeEncodeString(strconv.FormatUint(uint64(h.Sum32()), 10))
}

// annotationInt reads an annotation that holds a number.
func annotationInt(obj metav1.Object, key string) (int32, bool) {
	n, err := strconv.ParseInt(obj.GetAnnotations()[key], 10, 32)
	return int32(n), err == nil
}

// revisionOf is the set's revision, 0 if it has none.
func revisionOf(obj metav1.Object) int64 {
	n, err := strconv.ParseInt(obj.GetAnnotations()[RevisionKey], 10, 64)
	if err != nil {
		return 0
	}
	return n
}

// nextRevision is one above every old set's.
func (r *rollout) nextRevision() int64 {
	var newest int64
	for _, rs := range r.olds {
		newest = max(newest, revisionOf(rs))
	}
	return newest + 1
}

// syncRevision brings the current set's annotations and minReadySeconds up to
// date and returns the revision of the Deployment. A set that becomes current
// again (kubectl rollout undo) gets a new revision and remembers the old one.
func (r *rollout) syncRevision() string {
	if r.current == nil {
		return ""
	}
	r.annotate(r.current, r.nextRevision())
	r.current.Spec.MinReadySeconds = r.d.Spec.MinReadySeconds
	return r.current.Annotations[RevisionKey]
}

// annotate copies the Deployment's annotations to rs, except those that describe
// the Deployment itself, and raises the revision to at least want.
func (r *rollout) annotate(rs *appsv1.ReplicaSet, want int64) {
	for k, v := range r.d.Annotations {
		switch k {
		case corev1.LastAppliedConfigAnnotation, RevisionKey, historyKey, desiredKey, maxKey, rollbackKey:
		default:
			metav1.SetMetaDataAnnotation(&rs.ObjectMeta, k, v)
		}
	}
	has := revisionOf(rs)
	if has >= want {
		return
	}
	metav1.SetMetaDataAnnotation(&rs.ObjectMeta, RevisionKey, strconv.FormatInt(want, 10))
	if has > 0 {
		past := strconv.FormatInt(has, 10)
		if h := rs.Annotations[historyKey]; h != "" {
			past = h + "," + past
		}
		metav1.SetMetaDataAnnotation(&rs.ObjectMeta, historyKey, trimHistory(past))
	}
}

// trimHistory keeps the newest 2000 bytes of a comma-separated list, upstream's
// bound.
func trimHistory(h string) string {
	for len(h) > 2000 {
		_, rest, found := strings.Cut(h, ",")
		if !found {
			return ""
		}
		h = rest
	}
	return h
}

// history lists the old sets beyond revisionHistoryLimit, oldest revision first;
// only sets that are empty and have been seen to be so.
func (r *rollout) history() []*appsv1.ReplicaSet {
	limit := 10
	if r.d.Spec.RevisionHistoryLimit != nil {
		limit = int(*r.d.Spec.RevisionHistoryLimit)
	}
	alive := slices.DeleteFunc(slices.Clone(r.olds), func(rs *appsv1.ReplicaSet) bool { return rs.DeletionTimestamp != nil })
	slices.SortStableFunc(alive, func(a, b *appsv1.ReplicaSet) int { return cmp.Compare(revisionOf(a), revisionOf(b)) })
	excess := len(alive) - limit
	var drop []*appsv1.ReplicaSet
	for _, rs := range alive[:max(0, min(excess, len(alive)))] {
		if rs.Status.Replicas == 0 && Replicas(rs) == 0 && rs.Generation <= rs.Status.ObservedGeneration {
			drop = append(drop, r.original[rs])
		}
	}
	return drop
}
