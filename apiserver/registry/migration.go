package registry

import (
	migrationv1 "k8s.io/api/storagemigration/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apiserver/pkg/registry/rest"
	migration "k8s.io/kubernetes/pkg/apis/storagemigration"
	convert "k8s.io/kubernetes/pkg/apis/storagemigration/v1"
	"k8s.io/kubernetes/pkg/registry/storagemigration/storagemigration"
)

func (b *builder) migrations() map[string]rest.Storage {
	resources := map[string]rest.Storage{}
	put(resources, build(b, storageVersionMigrations()))
	return resources
}

func storageVersionMigrations() *kind[*migrationv1.StorageVersionMigration] {
	return adopt(foreign[*migrationv1.StorageVersionMigration, *migration.StorageVersionMigration]{
		strategy: storagemigration.Strategy, status: storagemigration.StatusStrategy,
		in: convert.Convert_v1_StorageVersionMigration_To_storagemigration_StorageVersionMigration, out: convert.Convert_storagemigration_StorageVersionMigration_To_v1_StorageVersionMigration,
	}, kind[*migrationv1.StorageVersionMigration]{
		group: migrationv1.GroupName, plural: "storageversionmigrations", singular: "storageversionmigration",
		list: func() runtime.Object { return &migrationv1.StorageVersionMigrationList{} },
	})
}
