package apiserver_test

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"

	flowcontrolv1 "k8s.io/api/flowcontrol/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apiserver/pkg/apis/flowcontrol/bootstrap"
	"k8s.io/client-go/kubernetes"

	"fairlead.dev/fairlead/internal/apitest"
)

// refusing is a priority level without a seat, and a schema that has a user's questions for the schema there: one at a time is let through.
func refusing(user string) (*flowcontrolv1.PriorityLevelConfiguration, *flowcontrolv1.FlowSchema) {
	none := int32(0)
	level := &flowcontrolv1.PriorityLevelConfiguration{ObjectMeta: metav1.ObjectMeta{Name: "shut"}, Spec: flowcontrolv1.PriorityLevelConfigurationSpec{
		Type: flowcontrolv1.PriorityLevelEnablementLimited,
		Limited: &flowcontrolv1.LimitedPriorityLevelConfiguration{NominalConcurrencyShares: &none, LendablePercent: &none, BorrowingLimitPercent: &none,
			LimitResponse: flowcontrolv1.LimitResponse{Type: flowcontrolv1.LimitResponseTypeReject}},
	}}
	schema := &flowcontrolv1.FlowSchema{ObjectMeta: metav1.ObjectMeta{Name: "greedy"}, Spec: flowcontrolv1.FlowSchemaSpec{
		PriorityLevelConfiguration: flowcontrolv1.PriorityLevelConfigurationReference{Name: "shut"}, MatchingPrecedence: 50,
		Rules: []flowcontrolv1.PolicyRulesWithSubjects{{
			Subjects:         []flowcontrolv1.Subject{{Kind: rbacv1.UserKind, User: &flowcontrolv1.UserSubject{Name: user}}},
			NonResourceRules: []flowcontrolv1.NonResourcePolicyRule{{Verbs: []string{"get"}, NonResourceURLs: []string{"/openapi/v2"}}},
		}},
	}}
	return level, schema
}

func TestPriorityAndFairness(t *testing.T) {
	cfg := apitest.Config(t, t.TempDir())
	server, _ := apitest.Run(t, cfg)
	objects, ctx := clientOf(t, server.ClientConfig()).FlowcontrolV1(), t.Context()
	eventually(t, "upstream's objects are there", func() bool {
		schemas, err1 := objects.FlowSchemas().List(ctx, metav1.ListOptions{})
		levels, err2 := objects.PriorityLevelConfigurations().List(ctx, metav1.ListOptions{})
		return err1 == nil && err2 == nil && len(schemas.Items) == len(bootstrap.MandatoryFlowSchemas)+len(bootstrap.SuggestedFlowSchemas) &&
			len(levels.Items) == len(bootstrap.MandatoryPriorityLevelConfigurations)+len(bootstrap.SuggestedPriorityLevelConfigurations)
	})
	level, schema := refusing("mallory")
	if _, err := objects.PriorityLevelConfigurations().Create(ctx, level, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	if _, err := objects.FlowSchemas().Create(ctx, schema, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	mallory, bob := clientOf(t, as(t, cfg, "mallory")), clientOf(t, as(t, cfg, "bob"))
	eventually(t, "most of mallory's are refused", func() bool { return refusals(ctx, mallory) > 0 })
	if n := refusals(ctx, bob); n > 0 {
		t.Errorf("%d of bob's are refused", n)
	}
	eventually(t, "the schema says that its level is there", func() bool {
		s, err := objects.FlowSchemas().Get(ctx, "greedy", metav1.GetOptions{})
		return err == nil && len(s.Status.Conditions) == 1 && s.Status.Conditions[0].Status == flowcontrolv1.ConditionFalse
	})
	if err := objects.FlowSchemas().Delete(ctx, "greedy", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "mallory is heard again", func() bool { return refusals(ctx, mallory) == 0 })
	level.Spec.Limited.LimitResponse.Type = "Whatever"
	level.Name = "other"
	if _, err := objects.PriorityLevelConfigurations().Create(ctx, level, metav1.CreateOptions{}); !apierrors.IsInvalid(err) {
		t.Errorf("a level that upstream refuses: %v", err)
	}
}

// refusals is how many of ten questions at once for the schema of the API are refused.
func refusals(ctx context.Context, client kubernetes.Interface) int64 {
	var refused atomic.Int64
	var all sync.WaitGroup
	for range 10 {
		all.Go(func() {
			if err := client.CoreV1().RESTClient().Get().AbsPath("/openapi/v2").MaxRetries(0).Do(ctx).Error(); apierrors.IsTooManyRequests(err) {
				refused.Add(1)
			}
		})
	}
	all.Wait()
	return refused.Load()
}
