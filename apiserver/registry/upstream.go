package registry

import (
	"context"
	"reflect"
	"sync"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/conversion"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/apiserver/pkg/endpoints/request"
	"k8s.io/apiserver/pkg/registry/rest"
	apiregistration "k8s.io/kube-aggregator/pkg/apis/apiregistration/v1"
	admissionregistration "k8s.io/kubernetes/pkg/apis/admissionregistration/v1"
	apps "k8s.io/kubernetes/pkg/apis/apps/v1"
	autoscaling "k8s.io/kubernetes/pkg/apis/autoscaling/v1"
	autoscalingv2 "k8s.io/kubernetes/pkg/apis/autoscaling/v2"
	batch "k8s.io/kubernetes/pkg/apis/batch/v1"
	certificates "k8s.io/kubernetes/pkg/apis/certificates/v1"
	coordination "k8s.io/kubernetes/pkg/apis/coordination/v1"
	core "k8s.io/kubernetes/pkg/apis/core/v1"
	event "k8s.io/kubernetes/pkg/apis/events/v1"
	flowcontrol "k8s.io/kubernetes/pkg/apis/flowcontrol/v1"
	networking "k8s.io/kubernetes/pkg/apis/networking/v1"
	node "k8s.io/kubernetes/pkg/apis/node/v1"
	policy "k8s.io/kubernetes/pkg/apis/policy/v1"
	rbac "k8s.io/kubernetes/pkg/apis/rbac/v1"
	resource "k8s.io/kubernetes/pkg/apis/resource/v1"
	scheduling "k8s.io/kubernetes/pkg/apis/scheduling/v1"
	storage "k8s.io/kubernetes/pkg/apis/storage/v1"
	storagemigration "k8s.io/kubernetes/pkg/apis/storagemigration/v1"
	privileges "k8s.io/kubernetes/pkg/capabilities"
	"k8s.io/kubernetes/pkg/printers"
	printersinternal "k8s.io/kubernetes/pkg/printers/internalversion"
)

// foreign is how upstream has a kind: the strategies of its registry, which work on its internal type I, and the conversions
// between that and T. The conversions are plain functions, called without a scheme, and mostly cast: what comes out shares its
// memory with what went in.
type foreign[T object, I runtime.Object] struct {
	strategy foreignStrategy         // of the resource
	status   rest.RESTUpdateStrategy // of its status; nil: it has none
	in       func(T, I, conversion.Scope) error
	out      func(I, T, conversion.Scope) error

	plain bool // upstream prints the name and the time of creation
}

// foreignStrategy is what upstream's strategies of resources are.
type foreignStrategy interface {
	rest.RESTCreateStrategy
	rest.RESTUpdateStrategy
}

// addUpstream registers upstream's defaults of the groups that are not ours, and its declarative validation.
func addUpstream(s *runtime.Scheme) error {
	privileges.Setup(true, 0) // who may run privileged pods is admission's to say, by PodSecurity
	for _, add := range []func(*runtime.Scheme) error{
		core.RegisterDefaults, core.RegisterValidations,
		apps.RegisterDefaults, apps.RegisterValidations,
		batch.RegisterDefaults, batch.RegisterValidations,
		coordination.RegisterValidations, event.RegisterValidations,
		networking.RegisterDefaults, networking.RegisterValidations,
		policy.RegisterDefaults, policy.RegisterValidations,
		rbac.RegisterDefaults, rbac.RegisterValidations,
		certificates.RegisterDefaults, certificates.RegisterValidations,
		storage.RegisterDefaults, storage.RegisterValidations,
		admissionregistration.RegisterDefaults, admissionregistration.RegisterValidations,
		scheduling.RegisterDefaults, scheduling.RegisterValidations, node.RegisterValidations,
		flowcontrol.RegisterDefaults, flowcontrol.RegisterValidations,
		apiregistration.RegisterDefaults,
		autoscaling.RegisterDefaults, autoscaling.RegisterValidations, autoscalingv2.RegisterDefaults, autoscalingv2.RegisterValidations,
		resource.RegisterDefaults, resource.RegisterValidations, storagemigration.RegisterValidations,
	} {
		if err := add(s); err != nil {
			return err
		}
	}
	return nil
}

// adopt completes the row of a kind that is not ours with upstream's rules and columns. The row keeps its names, its field labels
// and indexes, and whatever function it has already.
func adopt[T object, I runtime.Object](f foreign[T, I], k kind[T]) *kind[T] {
	k.new = blank[T]
	k.cluster = !f.strategy.NamespaceScoped()
	k.createOnUpdate, k.conditional = f.strategy.AllowCreateOnUpdate(context.Background()), !f.strategy.AllowUnconditionalUpdate(context.Background())
	if k.prepare == nil {
		k.prepare = func(ctx context.Context, obj T) {
			f.change(obj, func(i I) { f.strategy.PrepareForCreate(ctx, i) })
			Scheme.Default(obj) // as whoever reads it will: what is stored is what is read, and applying it again changes nothing
		}
	}
	if k.prepareUpdate == nil {
		k.prepareUpdate = func(ctx context.Context, obj, old T) { f.update(ctx, f.strategy, obj, old) }
	}
	if k.validate == nil {
		k.validate = func(ctx context.Context, obj T) field.ErrorList {
			i, errs := f.read(obj)
			if errs != nil {
				return errs
			}
			return f.strategy.Validate(ctx, i)
		}
	}
	if k.validateUpdate == nil {
		k.validateUpdate = func(ctx context.Context, obj, old T) field.ErrorList { return f.validate(ctx, f.strategy, obj, old) }
	}
	if k.warn == nil {
		k.warn = f.warn
	}
	switch {
	case k.row != nil || k.print != nil:
	case f.plain:
		k.print = plainly[T](k.resource())
	default:
		k.print = f.print
	}
	f.adoptStatus(&k)
	k.reset = resetBy(f.strategy)
	if collected, ok := f.strategy.(rest.GarbageCollectionDeleteStrategy); ok && k.collect == "" {
		k.collect = collected.DefaultGarbageCollectionPolicy(ofCore)
	}
	if declaring, ok := f.strategy.(rest.DeclarativeValidationStrategy); ok {
		k.declared = func(ctx context.Context, obj, old T) rest.DeclarativeValidationConfig {
			i, was := f.pair(obj, old)
			return declaring.DeclarativeValidationConfig(ctx, i, was)
		}
	}
	return &k
}

// adoptStatus gives the row the rules of its status, where upstream has one.
func (f foreign[T, I]) adoptStatus(k *kind[T]) {
	if f.status == nil || k.prepareStatus != nil {
		return
	}
	k.prepareStatus = func(ctx context.Context, obj, old T) { f.update(ctx, f.status, obj, old) }
	k.validateStatus = func(ctx context.Context, obj, old T) field.ErrorList { return f.validate(ctx, f.status, obj, old) }
	k.warnStatus = func(obj, old T) []string {
		i, was := f.pair(obj, old)
		return f.status.WarningsOnUpdate(context.Background(), i, was)
	}
	k.resetStatus = resetBy(f.status)
}

// part is the row of a subresource that is a part of the object, which upstream has a strategy of its own for.
func (f foreign[T, I]) part(k *kind[T], s rest.RESTUpdateStrategy) *kind[T] {
	part := *k
	part.prepareUpdate = func(ctx context.Context, obj, old T) { f.update(ctx, s, obj, old) }
	part.validateUpdate = func(ctx context.Context, obj, old T) field.ErrorList { return f.validate(ctx, s, obj, old) }
	part.warn = func(obj, old T) []string {
		i, was := f.pair(obj, old)
		return s.WarningsOnUpdate(context.Background(), i, was)
	}
	part.reset = resetBy(s)
	return &part
}

// ofCore is a request of the core group: what upstream's policies of collecting garbage ask for.
var ofCore = request.WithRequestInfo(context.Background(), &request.RequestInfo{APIVersion: "v1"})

// resetBy are the fields that an endpoint with the strategy ignores.
func resetBy(s any) resetFields {
	if by, ok := s.(rest.ResetFieldsStrategy); ok {
		return by.GetResetFields()
	}
	return nil
}

// blank is an empty object of a type that points to one.
func blank[T any]() T { return reflect.New(reflect.TypeFor[T]().Elem()).Interface().(T) }

// read is obj as upstream's type.
func (f foreign[T, I]) read(obj T) (I, field.ErrorList) {
	i := blank[I]()
	if err := f.in(obj, i, nil); err != nil {
		return i, field.ErrorList{field.InternalError(nil, err)}
	}
	return i, nil
}

// change has upstream change obj. What cannot be converted stays as it is: validation says so.
func (f foreign[T, I]) change(obj T, by func(I)) {
	i, errs := f.read(obj)
	if errs != nil {
		return
	}
	by(i)
	kind := obj.GetObjectKind().GroupVersionKind()
	reflect.ValueOf(obj).Elem().SetZero() // what upstream's type has no field for, such as a Secret's stringData, has been read
	_ = f.out(i, obj, nil)                // what came from T goes back into T
	obj.GetObjectKind().SetGroupVersionKind(kind)
}

func (f foreign[T, I]) update(ctx context.Context, s rest.RESTUpdateStrategy, obj, old T) {
	was, errs := f.read(old)
	if errs != nil {
		return
	}
	f.change(obj, func(i I) { s.PrepareForUpdate(ctx, i, was) })
}

func (f foreign[T, I]) validate(ctx context.Context, s rest.RESTUpdateStrategy, obj, old T) field.ErrorList {
	i, errs := f.read(obj)
	if errs != nil {
		return errs
	}
	was, errs := f.read(old)
	if errs != nil {
		return errs
	}
	return s.ValidateUpdate(ctx, i, was)
}

// pair is an object and what it was before, which is nil where there was nothing.
func (f foreign[T, I]) pair(obj, old T) (runtime.Object, runtime.Object) {
	i, _ := f.read(obj)
	var none T
	if any(old) == any(none) {
		return i, nil
	}
	was, _ := f.read(old)
	return i, was
}

func (f foreign[T, I]) warn(obj, old T) []string {
	ctx := context.Background()
	i, was := f.pair(obj, old)
	if was == nil {
		return f.strategy.WarningsOnCreate(ctx, i)
	}
	return f.strategy.WarningsOnUpdate(ctx, i, was)
}

// printer knows the columns of all of upstream's kinds; made when the first table is asked for.
var printer = sync.OnceValue(func() *printers.HumanReadableGenerator {
	return printers.NewTableGenerator().With(printersinternal.AddHandlers)
})

func (f foreign[T, I]) print(objs []T) (*metav1.Table, error) {
	table, err := printer().GenerateTable(blank[I](), printers.GenerateOptions{Wide: true})
	if err != nil {
		return nil, err
	}
	table.Rows = make([]metav1.TableRow, 0, len(objs))
	for _, obj := range objs {
		i := blank[I]()
		if err := f.in(obj, i, nil); err != nil {
			return nil, err
		}
		row, err := printer().GenerateTable(i, printers.GenerateOptions{NoHeaders: true, Wide: true})
		if err != nil {
			return nil, err
		}
		table.Rows = append(table.Rows, row.Rows...)
	}
	return table, nil
}

// plainly prints what upstream prints of kinds that it has no columns for.
func plainly[T object](of schema.GroupResource) func([]T) (*metav1.Table, error) {
	convertor := rest.NewDefaultTableConvertor(of)
	return func(objs []T) (*metav1.Table, error) {
		list := &metav1.List{}
		for _, obj := range objs {
			list.Items = append(list.Items, runtime.RawExtension{Object: obj})
		}
		return convertor.ConvertToTable(context.Background(), list, nil)
	}
}
