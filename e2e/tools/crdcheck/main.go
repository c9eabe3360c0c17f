// Command crdcheck checks manifests as an API server would, without one: decoding, metadata, unknown
// fields, defaults, the schema, list types, and rules in CEL, all by the API server's own packages.
//
//	crdcheck DIRECTORY FILE...
//
// DIRECTORY holds CustomResourceDefinitions. Each fault is one line, and any fault makes the exit code 1:
//
//	FILE: KIND "NAME": FAULT
package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"k8s.io/apiextensions-apiserver/pkg/apis/apiextensions"
	v1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/cel"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/defaulting"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/listtype"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/pruning"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/validation"
	apivalidation "k8s.io/apimachinery/pkg/api/validation"
	metav1validation "k8s.io/apimachinery/pkg/apis/meta/v1/validation"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/json"
	"k8s.io/apimachinery/pkg/util/validation/field"
	utilyaml "k8s.io/apimachinery/pkg/util/yaml"
	celconfig "k8s.io/apiserver/pkg/apis/cel"
	"sigs.k8s.io/yaml"
)

func main() {
	if len(os.Args) < 3 {
		exit(errors.New("usage: crdcheck DIRECTORY FILE..."))
	}
	kinds, err := load(os.Args[1])
	if err != nil {
		exit(err)
	}
	checked, faults := 0, 0
	for _, file := range os.Args[2:] {
		texts, err := documents(file)
		if err != nil {
			exit(err)
		}
		for _, text := range texts {
			object, found := decode(text)
			if len(found) == 0 {
				found = check(kinds, object)
			}
			for _, fault := range found {
				fmt.Printf("%s: %s %q: %s\n", file, object.GetKind(), object.GetName(), fault)
			}
			checked++
			faults += len(found)
		}
	}
	fmt.Fprintf(os.Stderr, "crdcheck: %d documents, %d faults\n", checked, faults)
	if faults > 0 {
		os.Exit(1)
	}
}

// A kind is one version of a CustomResourceDefinition.
type kind struct {
	structural *schema.Structural
	schema     validation.SchemaValidator
	rules      *cel.Validator
	namespaced bool
}

// Decode reads a document: a key that comes twice is a fault, and integers stay integers.
func decode(text []byte) (object *unstructured.Unstructured, faults []string) {
	object = &unstructured.Unstructured{}
	text, err := yaml.YAMLToJSONStrict(text)
	if err == nil {
		err = json.Unmarshal(text, &object.Object)
	}
	if err != nil {
		faults = append(faults, err.Error())
	}
	return object, faults
}

func check(kinds map[string]*kind, object *unstructured.Unstructured) (faults []string) {
	it, known := kinds[object.GetAPIVersion()+" "+object.GetKind()]
	if !known {
		return []string{fmt.Sprintf("no CustomResourceDefinition has this kind in %q", object.GetAPIVersion())}
	}
	metadata := field.NewPath("metadata")
	found := apivalidation.ValidateObjectMetaAccessor(object, it.namespaced, apivalidation.NameIsDNSSubdomain, metadata)
	found = append(found, metav1validation.ValidateLabels(object.GetLabels(), metadata.Child("labels"))...)
	track := schema.UnknownFieldPathOptions{TrackUnknownFieldPaths: true}
	for _, path := range pruning.PruneWithOptions(object.Object, it.structural, true, track) {
		faults = append(faults, fmt.Sprintf("unknown field %q", path))
	}
	defaulting.PruneNonNullableNullsWithoutDefaults(object.Object, it.structural)
	defaulting.Default(object.Object, it.structural)
	found = append(found, validation.ValidateCustomResource(nil, object.Object, it.schema)...)
	found = append(found, listtype.ValidateListSetsAndMaps(nil, it.structural, object.Object)...)
	if it.rules != nil {
		broken, _ := it.rules.Validate(
			context.Background(), nil, it.structural, object.Object, nil, celconfig.RuntimeCELCostBudget)
		found = append(found, broken...)
	}
	for _, fault := range found {
		faults = append(faults, fault.Error())
	}
	return faults
}

// Load reads the kinds of all files in a directory, by "VERSION KIND".
func load(directory string) (map[string]*kind, error) {
	kinds := map[string]*kind{}
	files, err := filepath.Glob(filepath.Join(directory, "*.yaml"))
	if err != nil || len(files) == 0 {
		return nil, fmt.Errorf("%s: no CustomResourceDefinitions", directory)
	}
	for _, file := range files {
		texts, err := documents(file)
		if err != nil {
			return nil, err
		}
		for _, text := range texts {
			if err := add(kinds, text); err != nil {
				return nil, fmt.Errorf("%s: %w", file, err)
			}
		}
	}
	return kinds, nil
}

func add(kinds map[string]*kind, text []byte) error {
	var definition v1.CustomResourceDefinition
	if err := yaml.Unmarshal(text, &definition); err != nil {
		return err
	}
	if definition.Kind != "CustomResourceDefinition" {
		return nil
	}
	v1.SetDefaults_CustomResourceDefinition(&definition)
	v1.SetDefaults_CustomResourceDefinitionSpec(&definition.Spec)
	for _, version := range definition.Spec.Versions {
		if !version.Served || version.Schema == nil {
			continue
		}
		props := new(apiextensions.JSONSchemaProps)
		err := v1.Convert_v1_JSONSchemaProps_To_apiextensions_JSONSchemaProps(version.Schema.OpenAPIV3Schema, props, nil)
		if err != nil {
			return err
		}
		structural, err := schema.NewStructural(props)
		if err != nil {
			return err
		}
		validator, _, err := validation.NewSchemaValidator(props)
		if err != nil {
			return err
		}
		kinds[definition.Spec.Group+"/"+version.Name+" "+definition.Spec.Names.Kind] = &kind{
			structural: structural,
			schema:     validator,
			rules:      cel.NewValidator(structural, true, celconfig.PerCallLimit),
			namespaced: definition.Spec.Scope == v1.NamespaceScoped,
		}
	}
	return nil
}

// Documents splits a file at its "---" lines, and leaves out what has only comments.
func documents(file string) (found [][]byte, err error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	reader := utilyaml.NewYAMLReader(bufio.NewReader(bytes.NewReader(text)))
	for {
		document, err := reader.Read()
		if errors.Is(err, io.EOF) {
			return found, nil
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %w", file, err)
		}
		var content any
		if yaml.Unmarshal(document, &content) != nil || content != nil {
			found = append(found, bytes.Clone(document))
		}
	}
}

func exit(err error) {
	fmt.Fprintln(os.Stderr, "crdcheck:", err)
	os.Exit(2)
}
