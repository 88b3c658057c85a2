{{/* The name in the labels. */}}
{{- define "scim-operator.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" -}}
{{- end -}}

{{/* The name of the objects: RELEASE-scim-operator, or RELEASE when that says it already. */}}
{{- define "scim-operator.fullname" -}}
{{- $name := default .Chart.Name .Values.nameOverride -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 50 | trimSuffix "-" -}}
{{- else if contains $name .Release.Name -}}
{{- .Release.Name | trunc 50 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name $name | trunc 50 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{/* Which pods are ours. They never change: a Deployment's selector cannot. */}}
{{- define "scim-operator.selectorLabels" -}}
app.kubernetes.io/name: {{ include "scim-operator.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/component: controller
{{- end -}}

{{/* The labels of every object. */}}
{{- define "scim-operator.labels" -}}
{{ include "scim-operator.ownLabels" . }}
{{- with .Values.commonLabels }}
{{ include "scim-operator.moreLabels" (dict "context" $ "value" "commonLabels" "labels" .) }}
{{- end }}
{{- end -}}

{{- define "scim-operator.ownLabels" -}}
{{ include "scim-operator.selectorLabels" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" }}
{{- end -}}

{{/* Labels of the user's: more, and none that the chart sets. */}}
{{- define "scim-operator.moreLabels" -}}
{{- $own := include "scim-operator.ownLabels" .context | fromYaml -}}
{{- range $name, $_ := .labels -}}
{{- if hasKey $own $name -}}
{{- fail (printf "%s.%s: the chart sets this label itself; use another name" $.value $name) -}}
{{- end -}}
{{- end -}}
{{- toYaml .labels -}}
{{- end -}}

{{- define "scim-operator.serviceAccountName" -}}
{{- if .Values.serviceAccount.create -}}
{{- default (include "scim-operator.fullname" .) .Values.serviceAccount.name -}}
{{- else -}}
{{- default "default" .Values.serviceAccount.name -}}
{{- end -}}
{{- end -}}

{{/* [REGISTRY/]REPOSITORY:TAG[@DIGEST] */}}
{{- define "scim-operator.image" -}}
{{- with .Values.image.registry -}}{{ . }}/{{- end -}}
{{- .Values.image.repository -}}:{{- default .Chart.AppVersion .Values.image.tag -}}
{{- with .Values.image.digest -}}@{{ . }}{{- end -}}
{{- end -}}
