package registry

import (
	"fmt"
	"net/url"
	"reflect"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/conversion"
	"k8s.io/apimachinery/pkg/runtime"
)

// addQueryConversions teaches the scheme to read the options of the pod, service and node subresources from a
// request's query, which is how kubectl sends them.
func addQueryConversions(s *runtime.Scheme) error {
	for _, options := range []runtime.Object{
		&corev1.PodLogOptions{}, &corev1.PodExecOptions{}, &corev1.PodAttachOptions{}, &corev1.PodPortForwardOptions{},
		&corev1.PodProxyOptions{}, &corev1.ServiceProxyOptions{}, &corev1.NodeProxyOptions{},
	} {
		read := func(in, out any, _ conversion.Scope) error { return readQuery(*in.(*url.Values), out) }
		if err := s.AddConversionFunc((*url.Values)(nil), options, read); err != nil {
			return err
		}
	}
	return nil
}

// readQuery fills the fields of the struct out points to from the query values named by their JSON tags. A field
// without a value in the query keeps its zero value; a value of the wrong form is an error that names the parameter.
func readQuery(query url.Values, out any) error {
	v := reflect.ValueOf(out).Elem()
	for i := range v.NumField() {
		name, _, _ := strings.Cut(v.Type().Field(i).Tag.Get("json"), ",")
		values, ok := query[name]
		if name == "" || !ok || len(values) == 0 {
			continue
		}
		if err := readParameter(v.Field(i), values); err != nil {
			return fmt.Errorf("query parameter %s: %w", name, err)
		}
	}
	return nil
}

func readParameter(field reflect.Value, values []string) error {
	if field.Kind() == reflect.Pointer {
		if values[0] == "" {
			return nil
		}
		value := reflect.New(field.Type().Elem())
		if err := readParameter(value.Elem(), values); err != nil {
			return err
		}
		field.Set(value)
		return nil
	}
	if at, ok := field.Addr().Interface().(*metav1.Time); ok {
		return at.UnmarshalQueryParameter(values[0])
	}
	switch field.Kind() {
	case reflect.String:
		field.SetString(values[0])
	case reflect.Bool:
		field.SetBool(truthy(values[0]))
	case reflect.Int32, reflect.Int64:
		n, err := strconv.ParseInt(values[0], 10, field.Type().Bits())
		if err != nil {
			return err
		}
		field.SetInt(n)
	case reflect.Slice:
		return readParameters(field, values)
	default:
		return fmt.Errorf("has the type %s, which a query cannot carry", field.Type())
	}
	return nil
}

func readParameters(field reflect.Value, values []string) error {
	list := reflect.MakeSlice(field.Type(), len(values), len(values))
	for i := range values {
		if err := readParameter(list.Index(i), values[i:i+1]); err != nil {
			return err
		}
	}
	field.Set(list)
	return nil
}

// truthy follows upstream's reading of a boolean parameter: a parameter that is present is true unless it says
// otherwise, so "?follow" and "?follow=1" mean the same.
func truthy(value string) bool {
	switch strings.ToLower(value) {
	case "false", "0":
		return false
	}
	return true
}
