package registry

import (
	"strconv"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apiserver/pkg/registry/rest"
	"k8s.io/kubernetes/pkg/apis/batch"
	convert "k8s.io/kubernetes/pkg/apis/batch/v1"
	"k8s.io/kubernetes/pkg/registry/batch/cronjob"
	"k8s.io/kubernetes/pkg/registry/batch/job"
)

func (b *builder) batch() map[string]rest.Storage {
	resources := map[string]rest.Storage{}
	put(resources, build(b, jobs()))
	put(resources, build(b, cronJobs()))
	return resources
}

// Without a word from the client, the pods of a deleted Job stay, as they always have.
func jobs() *kind[*batchv1.Job] {
	return ofPods(adopt(foreign[*batchv1.Job, *batch.Job]{
		strategy: job.Strategy, status: job.StatusStrategy,
		in: convert.Convert_v1_Job_To_batch_Job, out: convert.Convert_batch_Job_To_v1_Job,
	}, kind[*batchv1.Job]{
		group: batchv1.GroupName, plural: "jobs", singular: "job", categories: []string{"all"}, collect: rest.OrphanDependents,
		list: func() runtime.Object { return &batchv1.JobList{} },
		selectable: func(j *batchv1.Job, set fields.Set) {
			set["status.successful"] = strconv.Itoa(int(j.Status.Succeeded))
		},
	}), func(j *batchv1.Job) *corev1.PodSpec { return &j.Spec.Template.Spec }, "spec", "template", "spec")
}

func cronJobs() *kind[*batchv1.CronJob] {
	return ofPods(adopt(foreign[*batchv1.CronJob, *batch.CronJob]{
		strategy: cronjob.Strategy, status: cronjob.StatusStrategy,
		in: convert.Convert_v1_CronJob_To_batch_CronJob, out: convert.Convert_batch_CronJob_To_v1_CronJob,
	}, kind[*batchv1.CronJob]{
		group: batchv1.GroupName, plural: "cronjobs", singular: "cronjob", short: []string{"cj"}, categories: []string{"all"},
		list: func() runtime.Object { return &batchv1.CronJobList{} },
	}), func(c *batchv1.CronJob) *corev1.PodSpec { return &c.Spec.JobTemplate.Spec.Template.Spec }, "spec", "jobTemplate", "spec", "template", "spec")
}
