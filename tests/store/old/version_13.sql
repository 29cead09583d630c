-- Schema version 13, as commit 53d8b17b^ wrote it. Never to be changed.
BEGIN TRANSACTION;
CREATE TABLE "background_jobs" ("id" INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT, "class_name" VARCHAR(255) NOT NULL, "method_name" VARCHAR(255) NOT NULL, "parameters" TEXT NOT NULL, "status" VARCHAR(255) NOT NULL, "retry_count" INTEGER NOT NULL, "max_retries" INTEGER NOT NULL, "retry_delay" REAL NOT NULL, "backoff" VARCHAR(255) NOT NULL, "max_retry_delay" REAL NOT NULL, "queue" VARCHAR(255) NOT NULL, "priority" INTEGER NOT NULL, "timeout" REAL, "scheduled_at" VARCHAR(255), "started_at" VARCHAR(255), "finished_at" VARCHAR(255), "created_at" VARCHAR(255) NOT NULL, "updated_at" VARCHAR(255) NOT NULL, "cancel_requested_at" VARCHAR(255), "idempotency_key" VARCHAR(255), "result" TEXT, "error" TEXT, "submitted_uid" INTEGER, "submitted_gid" INTEGER, "submitted_pid" INTEGER, "ready" INTEGER NOT NULL, "request_digest" VARCHAR(255), "sensitive" TEXT, "crashes" INTEGER NOT NULL DEFAULT 0, "submitted_by_job" INTEGER, "schedule" VARCHAR(255), "occurrence" VARCHAR(255), "waits_for" INTEGER NOT NULL DEFAULT 0, "failed_before" INTEGER NOT NULL DEFAULT 0, "if_failed" VARCHAR(255), "cancelled_after" VARCHAR(255), "group_id" INTEGER, "takes" TEXT, "expires_at" VARCHAR(255), "unique_key" VARCHAR(255), "unique_while" VARCHAR(255));
INSERT INTO "background_jobs" VALUES(1,'jobs.Example','work','{"to":"user@example.com"}','completed',0,3,5.0,'constant',3600.0,'default',0,NULL,NULL,'2026-11-29T03:48:20.043150Z','2026-11-29T03:48:20.231708Z','2026-11-29T03:48:20.043150Z','2026-11-29T03:48:20.320707Z',NULL,'done','{"sent":"user@example.com"}',NULL,0,0,1582891,1,'3e06ce13f425279d9ec2c75047fcef2c',NULL,0,NULL,NULL,NULL,0,0,NULL,NULL,NULL,NULL,NULL,NULL,NULL);
INSERT INTO "background_jobs" VALUES(2,'jobs.Example','fail','{"message":"no"}','failed',0,0,5.0,'constant',3600.0,'default',0,NULL,NULL,'2026-11-29T03:48:27.452604Z','2026-11-29T03:48:27.577229Z','2026-11-29T03:48:27.452604Z','2026-11-29T03:48:27.659437Z',NULL,'18ec6775dbee1550-3d289d01fb6395f52f5ef96b0743b379',NULL,'ValueError: no',0,0,1583243,1,'=db73b134d54a61b14617c25a61387057',NULL,0,NULL,NULL,NULL,0,0,NULL,NULL,NULL,NULL,NULL,NULL,NULL);
INSERT INTO "background_jobs" VALUES(3,'jobs.Example','fail','{"message":"again"}','pending',1,3,36000.0,'constant',3600.0,'default',0,NULL,'2026-11-29T13:48:33.440718Z','2026-11-29T03:48:33.259941Z',NULL,'2026-11-29T03:48:33.259941Z','2026-11-29T03:48:33.440718Z',NULL,'18ec677739632f9f-8a7affb64aaa0418aa1c1ae8fff256eb',NULL,'ValueError: again',0,0,1583600,0,'=28827d6b8c8b60041ef3a5415fb9634d',NULL,0,NULL,NULL,NULL,0,0,NULL,NULL,NULL,NULL,NULL,NULL,NULL);
INSERT INTO "background_jobs" VALUES(4,'jobs.Example','work','{}','pending',0,3,5.0,'constant',3600.0,'default',0,NULL,'2026-11-29T13:48:37.225921Z',NULL,NULL,'2026-11-29T03:48:37.226238Z','2026-11-29T03:48:37.226238Z',NULL,'18ec677827f11bcf-3254ebed5a77430c1cd47395581d5bcd',NULL,NULL,0,0,1583832,0,'=d939294671382e9877870cda3ad7070a',NULL,0,NULL,NULL,NULL,0,0,NULL,NULL,NULL,NULL,NULL,NULL,NULL);
INSERT INTO "background_jobs" VALUES(5,'jobs.Example','work','{}','pending',0,3,5.0,'constant',3600.0,'held',5,NULL,NULL,NULL,NULL,'2026-11-29T03:48:44.879579Z','2026-11-29T03:48:44.879579Z',NULL,'18ec6779ef3a469d-cdb12bba7107ff223e7918b5d7640f09',NULL,NULL,0,0,1584700,1,'=cb5ca89fbfdffe3934accc069ed6df0a',NULL,0,NULL,NULL,NULL,0,0,NULL,NULL,NULL,NULL,NULL,NULL,NULL);
INSERT INTO "background_jobs" VALUES(6,'jobs.Example','work','{}','cancelled',0,3,5.0,'constant',3600.0,'default',0,NULL,'2026-11-29T12:48:49.303059Z',NULL,'2026-11-29T03:48:53.385810Z','2026-11-29T03:48:49.311209Z','2026-11-29T03:48:53.385810Z','2026-11-29T03:48:53.385810Z','18ec677af5385cbe-923614dc21a12a913f68f586c9666b69',NULL,NULL,0,0,1584957,0,'=5c1f5720a617aadcdfaf9c137da05b0b',NULL,0,NULL,NULL,NULL,0,0,NULL,NULL,NULL,NULL,NULL,NULL,NULL);
INSERT INTO "background_jobs" VALUES(7,'jobs.Example','wait','{}','running',0,3,5.0,'constant',3600.0,'default',0,NULL,NULL,'2026-11-29T03:48:59.594145Z',NULL,'2026-11-29T03:48:59.594145Z','2026-11-29T03:48:59.594145Z',NULL,'18ec677d5af8d28e-2cf4cd2e3f083e7f6a3d53b643b393e3',NULL,NULL,0,0,1585563,1,'=054dcaffd6982008782a73f0ceec7837',NULL,0,NULL,NULL,NULL,0,0,NULL,NULL,NULL,NULL,NULL,NULL,NULL);
INSERT INTO "background_jobs" VALUES(8,'jobs.Example','ignore','{}','running',0,3,5.0,'constant',3600.0,'default',0,NULL,NULL,'2026-11-29T03:49:06.069446Z',NULL,'2026-11-29T03:49:06.069446Z','2026-11-29T03:49:32.587269Z','2026-11-29T03:49:32.587269Z','18ec677edbfffa26-2b6341cbaaeb1b6086f1ffbdd361485b',NULL,NULL,0,0,1585873,1,'=054dcaffd6982008782a73f0ceec7837',NULL,0,NULL,NULL,NULL,0,0,NULL,NULL,NULL,NULL,NULL,NULL,NULL);
INSERT INTO "background_jobs" VALUES(9,'jobs.Example','work','{}','pending',0,3,5.0,'constant',3600.0,'default',0,NULL,NULL,NULL,NULL,'2026-11-29T03:49:12.011443Z','2026-11-29T03:49:12.011443Z',NULL,'18ec67803d810d52-0897416b6dab6771d0a77d378c38a189',NULL,NULL,0,0,1586007,2,'=50dc7ffd37ace2cac67cf70a76930690',NULL,0,NULL,NULL,NULL,1,0,'cancel',NULL,NULL,NULL,NULL,NULL,NULL);
INSERT INTO "background_jobs" VALUES(10,'jobs.Example','work','{}','pending',0,3,5.0,'constant',3600.0,'default',0,NULL,'2026-11-29T05:49:16.555369Z',NULL,NULL,'2026-11-29T03:49:16.593430Z','2026-11-29T03:49:16.593430Z',NULL,'18ec6781522881de-86e14a92e07f15aa4539daecbd0ad2ae',NULL,NULL,0,0,1586185,0,'=0652d91481b5d49bdccb7c7f671e8e20',NULL,0,NULL,NULL,NULL,0,0,NULL,NULL,NULL,NULL,'2026-11-29T12:49:16.555369Z',NULL,NULL);
INSERT INTO "background_jobs" VALUES(11,'jobs.Example','work','{}','pending',0,3,5.0,'constant',3600.0,'default',0,NULL,'2026-11-29T06:49:21.269873Z',NULL,NULL,'2026-11-29T03:49:21.270064Z','2026-11-29T03:49:21.270064Z',NULL,'18ec678265826db2-52b24cdc68be0b94dfd595cb9fb6b1b5',NULL,NULL,0,0,1586263,0,'=f6b2fd7226af1329eb39663b5f76d75a',NULL,0,NULL,NULL,NULL,0,0,NULL,NULL,NULL,NULL,NULL,'one','unfinished');
CREATE TABLE "consequences" ("of" VARCHAR(255) NOT NULL, "id" INTEGER NOT NULL, "done_to" INTEGER NOT NULL, PRIMARY KEY ("of", "id")) WITHOUT ROWID;
CREATE TABLE "job_attempts" ("job_id" INTEGER NOT NULL, "number" INTEGER NOT NULL, "token" VARCHAR(255) NOT NULL, "boot_id" VARCHAR(255) NOT NULL, "pid" INTEGER, "started_at" VARCHAR(255), "finished_at" VARCHAR(255), "outcome" VARCHAR(255), "exit_code" INTEGER, "signal" INTEGER, "error_type" TEXT, "error_message" TEXT, "traceback" TEXT, "max_rss" INTEGER, "cpu_user" REAL, "cpu_system" REAL, "output_bytes" INTEGER, "code_version" VARCHAR(255), "progress" TEXT, "noted" INTEGER NOT NULL DEFAULT 0, "spends_retry" INTEGER NOT NULL DEFAULT 1, "error_class" TEXT, PRIMARY KEY ("job_id", "number")) WITHOUT ROWID;
INSERT INTO "job_attempts" VALUES(1,1,'da442c5efc756511','1df388ec-d432-41b4-9c12-5c687383d3a6',1583026,'2026-11-29T03:48:20.213913Z','2026-11-29T03:48:20.231708Z','completed',0,NULL,NULL,NULL,NULL,14544896,6.22399999999999949e-03,0.0,0,'4a78ee02bb85',NULL,0,1,NULL);
INSERT INTO "job_attempts" VALUES(2,1,'c3b4184856464470','1df388ec-d432-41b4-9c12-5c687383d3a6',1583139,'2026-11-29T03:48:27.530291Z','2026-11-29T03:48:27.577229Z','failed',1,NULL,'ValueError','no','Traceback (most recent call last):
  File "/srv/app/jobs.py", line 13, in fail
    raise ValueError(message)
ValueError: no
',14700544,0.005378,0.005378,0,'4a78ee02bb85',NULL,0,1,'builtins.ValueError');
INSERT INTO "job_attempts" VALUES(3,1,'cb4dfe2f575f6db3','1df388ec-d432-41b4-9c12-5c687383d3a6',1583567,'2026-11-29T03:48:33.320179Z','2026-11-29T03:48:33.379983Z','failed',1,NULL,'ValueError','again','Traceback (most recent call last):
  File "/srv/app/jobs.py", line 13, in fail
    raise ValueError(message)
ValueError: again
',14700544,0.0,0.009906,0,'4a78ee02bb85',NULL,0,1,'builtins.ValueError');
INSERT INTO "job_attempts" VALUES(7,1,'be2ab5af347088ad','1df388ec-d432-41b4-9c12-5c687383d3a6',1583816,'2026-11-29T03:48:59.745995Z',NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,'4a78ee02bb85',NULL,0,1,NULL);
INSERT INTO "job_attempts" VALUES(8,1,'e96d7ffa4abddb55','1df388ec-d432-41b4-9c12-5c687383d3a6',1583024,'2026-11-29T03:49:06.233211Z',NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,'4a78ee02bb85',NULL,0,1,NULL);
CREATE TABLE "job_dependencies" ("job_id" INTEGER NOT NULL, "of" VARCHAR(255) NOT NULL, "after_id" INTEGER NOT NULL, "standing" INTEGER NOT NULL, PRIMARY KEY ("job_id", "of", "after_id")) WITHOUT ROWID;
INSERT INTO "job_dependencies" VALUES(9,'job',7,0);
CREATE TABLE "job_groups" ("id" INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT, "name" VARCHAR(255), "since_id" INTEGER NOT NULL, "group_id" INTEGER, "total" INTEGER NOT NULL, "unfinished" INTEGER NOT NULL, "completed" INTEGER NOT NULL, "failed" INTEGER NOT NULL, "cancelled" INTEGER NOT NULL, "sealed_at" VARCHAR(255), "ended_at" VARCHAR(255), "cancel_requested_at" VARCHAR(255), "created_at" VARCHAR(255) NOT NULL, "idempotency_key" VARCHAR(255), "submitted_uid" INTEGER);
CREATE TABLE "job_logs" ("id" INTEGER NOT NULL PRIMARY KEY, "job_id" INTEGER NOT NULL, "attempt" INTEGER, "type" VARCHAR(255) NOT NULL, "message" TEXT NOT NULL, "context" TEXT, "created_at" VARCHAR(255) NOT NULL, "folded" TEXT, "attempts_allowed" INTEGER);
INSERT INTO "job_logs" VALUES(1,1,NULL,'success','Background job initiated','{"id":1,"class_name":"jobs.Example","method_name":"work","status":"pending","retry_count":0,"max_retries":3,"queue":"default","priority":0,"parameters":{"to":"user@example.com"}}','2026-11-29T03:48:20.043150Z',NULL,NULL);
INSERT INTO "job_logs" VALUES(2,1,1,'success','Background job dispatched on Linux platform',NULL,'2026-11-29T03:48:20.043150Z',NULL,4);
INSERT INTO "job_logs" VALUES(3,1,1,'success','Background job started','{"id":1,"class_name":"jobs.Example","method_name":"work","status":"running","retry_count":0,"max_retries":3,"queue":"default","priority":0,"parameters":{"to":"user@example.com"}}','2026-11-29T03:48:20.320707Z',NULL,4);
INSERT INTO "job_logs" VALUES(4,1,1,'success','Background job completed processing',NULL,'2026-11-29T03:48:20.320707Z',NULL,4);
INSERT INTO "job_logs" VALUES(5,2,NULL,'success','Background job initiated','{"id":2,"class_name":"jobs.Example","method_name":"fail","status":"pending","retry_count":0,"max_retries":0,"queue":"default","priority":0,"parameters":{"message":"no"}}','2026-11-29T03:48:27.452604Z',NULL,NULL);
INSERT INTO "job_logs" VALUES(6,2,1,'success','Background job dispatched on Linux platform',NULL,'2026-11-29T03:48:27.452604Z',NULL,1);
INSERT INTO "job_logs" VALUES(7,2,1,'success','Background job started','{"id":2,"class_name":"jobs.Example","method_name":"fail","status":"running","retry_count":0,"max_retries":0,"queue":"default","priority":0,"parameters":{"message":"no"}}','2026-11-29T03:48:27.659437Z',NULL,1);
INSERT INTO "job_logs" VALUES(8,2,1,'failure','ValueError: no (attempt 1 of 1)',NULL,'2026-11-29T03:48:27.659437Z',NULL,1);
INSERT INTO "job_logs" VALUES(9,3,NULL,'success','Background job initiated','{"id":3,"class_name":"jobs.Example","method_name":"fail","status":"pending","retry_count":0,"max_retries":3,"queue":"default","priority":0,"parameters":{"message":"again"}}','2026-11-29T03:48:33.259941Z',NULL,NULL);
INSERT INTO "job_logs" VALUES(10,3,1,'success','Background job dispatched on Linux platform',NULL,'2026-11-29T03:48:33.259941Z',NULL,4);
INSERT INTO "job_logs" VALUES(11,3,1,'success','Background job started','{"id":3,"class_name":"jobs.Example","method_name":"fail","status":"running","retry_count":0,"max_retries":3,"queue":"default","priority":0,"parameters":{"message":"again"}}','2026-11-29T03:48:33.440718Z',NULL,4);
INSERT INTO "job_logs" VALUES(12,3,1,'failure','ValueError: again (attempt 1 of 4, next at 13:48:33)',NULL,'2026-11-29T03:48:33.440718Z',NULL,4);
INSERT INTO "job_logs" VALUES(13,3,1,'info','Background job waits for retry 1 of 3 at 13:48:33',NULL,'2026-11-29T03:48:33.440718Z',NULL,4);
INSERT INTO "job_logs" VALUES(14,4,NULL,'success','Background job initiated','{"id":4,"class_name":"jobs.Example","method_name":"work","status":"pending","retry_count":0,"max_retries":3,"queue":"default","priority":0,"parameters":{}}','2026-11-29T03:48:37.226238Z',NULL,NULL);
INSERT INTO "job_logs" VALUES(15,5,NULL,'success','Background job initiated','{"id":5,"class_name":"jobs.Example","method_name":"work","status":"pending","retry_count":0,"max_retries":3,"queue":"held","priority":5,"parameters":{}}','2026-11-29T03:48:44.879579Z',NULL,NULL);
INSERT INTO "job_logs" VALUES(16,6,NULL,'success','Background job initiated','{"id":6,"class_name":"jobs.Example","method_name":"work","status":"pending","retry_count":0,"max_retries":3,"queue":"default","priority":0,"parameters":{}}','2026-11-29T03:48:49.311209Z',NULL,NULL);
INSERT INTO "job_logs" VALUES(17,6,NULL,'info','Background job cancelled',NULL,'2026-11-29T03:48:53.385810Z',NULL,NULL);
INSERT INTO "job_logs" VALUES(18,7,NULL,'success','Background job initiated','{"id":7,"class_name":"jobs.Example","method_name":"wait","status":"pending","retry_count":0,"max_retries":3,"queue":"default","priority":0,"parameters":{}}','2026-11-29T03:48:59.594145Z',NULL,NULL);
INSERT INTO "job_logs" VALUES(19,7,1,'success','Background job dispatched on Linux platform',NULL,'2026-11-29T03:48:59.594145Z',NULL,4);
INSERT INTO "job_logs" VALUES(20,7,1,'success','Background job started','{"id":7,"class_name":"jobs.Example","method_name":"wait","status":"running","retry_count":0,"max_retries":3,"queue":"default","priority":0,"parameters":{}}','2026-11-29T03:48:59.877971Z',NULL,4);
INSERT INTO "job_logs" VALUES(21,8,NULL,'success','Background job initiated','{"id":8,"class_name":"jobs.Example","method_name":"ignore","status":"pending","retry_count":0,"max_retries":3,"queue":"default","priority":0,"parameters":{}}','2026-11-29T03:49:06.069446Z',NULL,NULL);
INSERT INTO "job_logs" VALUES(22,8,1,'success','Background job dispatched on Linux platform',NULL,'2026-11-29T03:49:06.069446Z',NULL,4);
INSERT INTO "job_logs" VALUES(23,8,1,'success','Background job started','{"id":8,"class_name":"jobs.Example","method_name":"ignore","status":"running","retry_count":0,"max_retries":3,"queue":"default","priority":0,"parameters":{}}','2026-11-29T03:49:06.350178Z',NULL,4);
INSERT INTO "job_logs" VALUES(24,9,NULL,'success','Background job initiated','{"id":9,"class_name":"jobs.Example","method_name":"work","status":"pending","retry_count":0,"max_retries":3,"queue":"default","priority":0,"parameters":{}}','2026-11-29T03:49:12.011443Z',NULL,NULL);
INSERT INTO "job_logs" VALUES(25,9,NULL,'info','Background job waits for another',NULL,'2026-11-29T03:49:12.011443Z',NULL,NULL);
INSERT INTO "job_logs" VALUES(26,10,NULL,'success','Background job initiated','{"id":10,"class_name":"jobs.Example","method_name":"work","status":"pending","retry_count":0,"max_retries":3,"queue":"default","priority":0,"parameters":{}}','2026-11-29T03:49:16.593430Z',NULL,NULL);
INSERT INTO "job_logs" VALUES(27,11,NULL,'success','Background job initiated','{"id":11,"class_name":"jobs.Example","method_name":"work","status":"pending","retry_count":0,"max_retries":3,"queue":"default","priority":0,"parameters":{}}','2026-11-29T03:49:21.270064Z',NULL,NULL);
INSERT INTO "job_logs" VALUES(28,8,1,'info','Background job cancel requested',NULL,'2026-11-29T03:49:32.587269Z',NULL,4);
CREATE TABLE "properties" ("name" VARCHAR(255) NOT NULL PRIMARY KEY, "value" TEXT NOT NULL);
INSERT INTO "properties" VALUES('database_id','93652701-e9b8-44e5-8b37-d4c1491f3af1');
CREATE TABLE "queues" ("name" VARCHAR(255) NOT NULL PRIMARY KEY, "paused_at" VARCHAR(255) NOT NULL, "resumes_at" VARCHAR(255));
INSERT INTO "queues" VALUES('held','2026-11-29T03:48:40.597037Z',NULL);
INSERT INTO "queues" VALUES('later','2026-11-29T03:49:26.965379Z','2026-11-29T08:49:26.921995Z');
CREATE TABLE "schedule_occurrences" ("name" VARCHAR(255) NOT NULL, "at" VARCHAR(255) NOT NULL, "until" VARCHAR(255) NOT NULL, "count" INTEGER NOT NULL, "verdict" VARCHAR(255) NOT NULL, "reason" VARCHAR(255), "job_id" INTEGER, "dealt_at" VARCHAR(255) NOT NULL, PRIMARY KEY ("name", "at")) WITHOUT ROWID;
CREATE TABLE "schedules" ("name" VARCHAR(255) NOT NULL PRIMARY KEY, "definition" TEXT NOT NULL, "since" VARCHAR(255) NOT NULL, "cursor" VARCHAR(255) NOT NULL, "paused_at" VARCHAR(255), "removed_at" VARCHAR(255), "uid" INTEGER, "made_by" VARCHAR(255));
INSERT INTO "schedules" VALUES('nightly','{"job":"jobs.Example::work","cron":"30 2 * * *","zone":"UTC"}','2026-11-29T03:48:13.225762Z','2026-11-29T03:48:13.225762Z',NULL,NULL,NULL,NULL);
CREATE TABLE "unique_keys" ("class_name" VARCHAR(255) NOT NULL, "method_name" VARCHAR(255) NOT NULL, "key" VARCHAR(255) NOT NULL, "job_id" INTEGER NOT NULL, "held_until" VARCHAR(255), PRIMARY KEY ("class_name", "method_name", "key")) WITHOUT ROWID;
INSERT INTO "unique_keys" VALUES('jobs.Example','work','one',11,NULL);
CREATE INDEX jobs_ready ON background_jobs (queue, priority DESC, id) WHERE status = 'pending' AND ready = 1;
CREATE INDEX jobs_scheduled ON background_jobs (scheduled_at) WHERE status = 'pending' AND ready = 0;
CREATE INDEX jobs_running ON background_jobs (queue) WHERE status = 'running';
CREATE UNIQUE INDEX jobs_key ON background_jobs (idempotency_key) WHERE idempotency_key IS NOT NULL;
CREATE INDEX jobs_finished ON background_jobs (status, id) WHERE finished_at IS NOT NULL;
CREATE INDEX attempts_open ON job_attempts (job_id, number) WHERE outcome IS NULL;
CREATE INDEX logs_job ON job_logs (job_id, id);
CREATE INDEX jobs_pending ON background_jobs (ready) WHERE status = 'pending' AND finished_at IS NULL;
CREATE INDEX logs_type ON job_logs (type) WHERE type <> 'success';
CREATE INDEX jobs_ended ON background_jobs (status, finished_at) WHERE finished_at IS NOT NULL;
CREATE INDEX jobs_of_class ON background_jobs (queue, class_name, priority DESC, id) WHERE status = 'pending' AND ready = 1;
CREATE INDEX jobs_of_schedule ON background_jobs (schedule, id) WHERE schedule IS NOT NULL AND finished_at IS NULL;
CREATE INDEX jobs_by_schedule ON background_jobs (schedule, id) WHERE schedule IS NOT NULL;
CREATE INDEX edges_after ON job_dependencies ("of", after_id, job_id);
CREATE INDEX jobs_of_group ON background_jobs (group_id, id) WHERE group_id IS NOT NULL;
CREATE INDEX groups_of_group ON job_groups (group_id, id) WHERE group_id IS NOT NULL;
CREATE UNIQUE INDEX groups_key ON job_groups (idempotency_key) WHERE idempotency_key IS NOT NULL;
CREATE INDEX groups_unended ON job_groups (id) WHERE ended_at IS NULL;
CREATE INDEX jobs_expiring ON background_jobs (expires_at) WHERE status = 'pending' AND started_at IS NULL AND expires_at IS NOT NULL;
CREATE INDEX unique_keys_of ON unique_keys (job_id);
CREATE INDEX unique_keys_until ON unique_keys (held_until) WHERE held_until IS NOT NULL;
DELETE FROM "sqlite_sequence";
INSERT INTO "sqlite_sequence" VALUES('background_jobs',11);
COMMIT;
PRAGMA user_version = 13;
