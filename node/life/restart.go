package life

import (
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"

	"fairlead.dev/fairlead/api"
)

// restarts tells whether a container that has ended is to be started again (rule R40): because it was ended for that, because all of
// the pod's begin anew, by its own rules and policy (KEP-5307), or by the pod's policy.
func (v View) restarts(c *corev1.Container, init bool, ended *Container) bool {
	switch {
	case init && api.Sidecar(c), v.Mem.Replaced[ended.ID], v.outdated(ended):
		return true
	case init && ended.ExitCode == 0:
		return false // an init container is done when it has succeeded
	case matchingRule(c, ended.ExitCode) != nil:
		return true // there is no rule that keeps a container from being started
	}
	switch policyOf(v.Pod, c) {
	case corev1.RestartPolicyNever:
		return false
	case corev1.RestartPolicyOnFailure:
		return ended.ExitCode != 0
	}
	return true
}

// policyOf is a container's own policy, or else its pod's.
func policyOf(pod *corev1.Pod, c *corev1.Container) corev1.RestartPolicy {
	if c.RestartPolicy != nil {
		return corev1.RestartPolicy(*c.RestartPolicy)
	}
	return pod.Spec.RestartPolicy
}

// MayRestart tells whether a running container that is ended because of a probe will be started again, as far as policies say. Rules are
// not asked: it has no exit code yet.
func MayRestart(pod *corev1.Pod, c *corev1.Container) bool {
	return policyOf(pod, c) != corev1.RestartPolicyNever
}

// matchingRule is the first of a container's rules about exit codes that is about this one, nil when there is none.
func matchingRule(c *corev1.Container, code int32) *corev1.ContainerRestartRule {
	for i := range c.RestartPolicyRules {
		codes := c.RestartPolicyRules[i].ExitCodes
		if codes == nil {
			continue
		}
		in := slices.Contains(codes.Values, code)
		if in && codes.Operator == corev1.ContainerRestartRuleOnExitCodesOpIn || !in && codes.Operator == corev1.ContainerRestartRuleOnExitCodesOpNotIn {
			return &c.RestartPolicyRules[i]
		}
	}
	return nil
}

// BegunAnew is when a container last ended in a way that by its rules has all of the pod's containers begin anew (KEP-5532), init
// containers first; zero when none has. What was made before that moment is no longer wanted.
func BegunAnew(v View) time.Time {
	last := v.Mem.Anew
	v.eachSpec(func(c *corev1.Container, _ bool) {
		if !restartsAll(c) {
			return
		}
		for _, run := range v.Seen.Containers[c.Name] {
			rule := matchingRule(c, run.ExitCode)
			if run.State == Exited && rule != nil && rule.Action == corev1.ContainerRestartRuleActionRestartAllContainers && run.Finished.After(last) {
				last = run.Finished
			}
		}
	})
	return last
}

// restartsAll tells whether a container has a rule by which all of the pod's begin anew.
func restartsAll(c *corev1.Container) bool {
	return slices.ContainsFunc(c.RestartPolicyRules, func(r corev1.ContainerRestartRule) bool {
		return r.Action == corev1.ContainerRestartRuleActionRestartAllContainers
	})
}

// canBeginAnew tells whether a container of the pod has such a rule.
func (v View) canBeginAnew() bool {
	can := false
	v.eachSpec(func(c *corev1.Container, _ bool) { can = can || restartsAll(c) })
	return can
}

// outdated: the container is of the time before all containers had to begin anew.
func (v View) outdated(c *Container) bool { return c.Created.Before(v.Mem.Anew) }

// beginsAnew ends the containers that are of the time before, at once, and tells whether one of them is still alive.
func (v View) beginsAnew(p *Plan) bool {
	waiting := false
	v.eachSpec(func(spec *corev1.Container, _ bool) {
		if c := v.Seen.Newest(spec.Name); alive(c) && v.outdated(c) {
			waiting = true
			v.kill(p, c, 0, "")
		}
	})
	return waiting
}

// changed: the container was made for another image than its pod has now.
func (v View) changed(spec *corev1.Container, c *Container) bool {
	return c.SpecImage != "" && c.SpecImage != spec.Image
}
