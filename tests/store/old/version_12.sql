-- Schema version 12, as commit c20de6d7 wrote it. Never to be changed.
BEGIN TRANSACTION;
CREATE TABLE "background_jobs" ("id" INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT, "class_name" VARCHAR(255) NOT NULL, "method_name" VARCHAR(255) NOT NULL, "parameters" TEXT NOT NULL, "status" VARCHAR(255) NOT NULL, "retry_count" INTEGER NOT NULL, "max_retries" INTEGER NOT NULL, "retry_delay" REAL NOT NULL, "backoff" VARCHAR(255) NOT NULL, "max_retry_delay" REAL NOT NULL, "queue" VARCHAR(255) NOT NULL, "priority" INTEGER NOT NULL, "timeout" REAL, "scheduled_at" VARCHAR(255), "started_at" VARCHAR(255), "finished_at" VARCHAR(255), "created_at" VARCHAR(255) NOT NULL, "updated_at" VARCHAR(255) NOT NULL, "cancel_requested_at" VARCHAR(255), "idempotency_key" VARCHAR(255), "result" TEXT, "error" TEXT, "submitted_uid" INTEGER, "submitted_gid" INTEGER, "submitted_pid" INTEGER, "ready" INTEGER NOT NULL, "request_digest" VARCHAR(255), "sensitive" TEXT, "crashes" INTEGER NOT NULL DEFAULT 0, "submitted_by_job" INTEGER, "schedule" VARCHAR(255), "occurrence" VARCHAR(255), "waits_for" INTEGER NOT NULL DEFAULT 0, "failed_before" INTEGER NOT NULL DEFAULT 0, "if_failed" VARCHAR(255), "cancelled_after" VARCHAR(255), "group_id" INTEGER, "takes" TEXT, "expires_at" VARCHAR(255), "unique_key" VARCHAR(255), "unique_while" VARCHAR(255));
INSERT INTO "background_jobs" VALUES(1,'jobs.Example','work','{"to":"user@example.com"}','completed',0,3,5.0,'constant',3600.0,'default',0,NULL,NULL,'2026-11-29T03:23:42.182181Z','2026-11-29T03:23:42.248647Z','2026-11-29T03:23:42.182181Z','2026-11-29T03:23:42.374103Z',NULL,'done','{"sent":"user@example.com"}',NULL,0,0,1532348,1,'3e06ce13f425279d9ec2c75047fcef2c',NULL,0,NULL,NULL,NULL,0,0,NULL,NULL,NULL,NULL,NULL,NULL,NULL);
INSERT INTO "background_jobs" VALUES(2,'jobs.Example','fail','{"message":"no"}','failed',0,0,5.0,'constant',3600.0,'default',0,NULL,NULL,'2026-11-29T03:23:45.389040Z','2026-11-29T03:23:45.521921Z','2026-11-29T03:23:45.389040Z','2026-11-29T03:23:45.583883Z',NULL,'18ec661cce00d669-c52d29b032af3dc1e5e51a1ac919c894',NULL,'ValueError: no',0,0,1532471,1,'=db73b134d54a61b14617c25a61387057',NULL,0,NULL,NULL,NULL,0,0,NULL,NULL,NULL,NULL,NULL,NULL,NULL);
INSERT INTO "background_jobs" VALUES(3,'jobs.Example','fail','{"message":"again"}','pending',1,3,36000.0,'constant',3600.0,'default',0,NULL,'2026-11-29T13:23:47.437568Z','2026-11-29T03:23:47.342156Z',NULL,'2026-11-29T03:23:47.342156Z','2026-11-29T03:23:47.437568Z',NULL,'18ec661d45c04538-06a5bf01adf401b4a3abeba51d038266',NULL,'ValueError: again',0,0,1532628,0,'=28827d6b8c8b60041ef3a5415fb9634d',NULL,0,NULL,NULL,NULL,0,0,NULL,NULL,NULL,NULL,NULL,NULL,NULL);
INSERT INTO "background_jobs" VALUES(4,'jobs.Example','work','{}','pending',0,3,5.0,'constant',3600.0,'default',0,NULL,'2026-11-29T13:23:48.694003Z',NULL,NULL,'2026-11-29T03:23:48.694315Z','2026-11-29T03:23:48.694315Z',NULL,'18ec661d955455f3-42ce4f25bf47674afd729df02a1b5fc4',NULL,NULL,0,0,1532675,0,'=d939294671382e9877870cda3ad7070a',NULL,0,NULL,NULL,NULL,0,0,NULL,NULL,NULL,NULL,NULL,NULL,NULL);
INSERT INTO "background_jobs" VALUES(5,'jobs.Example','work','{}','pending',0,3,5.0,'constant',3600.0,'held',5,NULL,NULL,NULL,NULL,'2026-11-29T03:23:51.629139Z','2026-11-29T03:23:51.629139Z',NULL,'18ec661e45ed0dea-6c2bdb1624eb6ea46527ba7a0b901174',NULL,NULL,0,0,1532773,1,'=cb5ca89fbfdffe3934accc069ed6df0a',NULL,0,NULL,NULL,NULL,0,0,NULL,NULL,NULL,NULL,NULL,NULL,NULL);
INSERT INTO "background_jobs" VALUES(6,'jobs.Example','work','{}','cancelled',0,3,5.0,'constant',3600.0,'default',0,NULL,'2026-11-29T12:23:53.406129Z',NULL,'2026-11-29T03:23:55.517943Z','2026-11-29T03:23:53.432651Z','2026-11-29T03:23:55.517943Z','2026-11-29T03:23:55.517943Z','18ec661eaf09c9c2-04d5949f94d780b2d418f6d7fd4fb803',NULL,NULL,0,0,1532818,0,'=5c1f5720a617aadcdfaf9c137da05b0b',NULL,0,NULL,NULL,NULL,0,0,NULL,NULL,NULL,NULL,NULL,NULL,NULL);
INSERT INTO "background_jobs" VALUES(7,'jobs.Example','wait','{}','running',0,3,5.0,'constant',3600.0,'default',0,NULL,NULL,'2026-11-29T03:23:57.213152Z',NULL,'2026-11-29T03:23:57.213152Z','2026-11-29T03:23:57.213152Z',NULL,'18ec661f90f2fd4a-c6b3df1bc85dc8f96f650b85911ba10f',NULL,NULL,0,0,1532942,1,'=054dcaffd6982008782a73f0ceec7837',NULL,0,NULL,NULL,NULL,0,0,NULL,NULL,NULL,NULL,NULL,NULL,NULL);
INSERT INTO "background_jobs" VALUES(8,'jobs.Example','ignore','{}','running',0,3,5.0,'constant',3600.0,'default',0,NULL,NULL,'2026-11-29T03:23:59.027402Z',NULL,'2026-11-29T03:23:59.027402Z','2026-11-29T03:24:06.541187Z','2026-11-29T03:24:06.541187Z','18ec661ffdaf623b-085904bd46f8f92c824e8672ebfe6fc6',NULL,NULL,0,0,1532984,1,'=054dcaffd6982008782a73f0ceec7837',NULL,0,NULL,NULL,NULL,0,0,NULL,NULL,NULL,NULL,NULL,NULL,NULL);
INSERT INTO "background_jobs" VALUES(9,'jobs.Example','work','{}','pending',0,3,5.0,'constant',3600.0,'default',0,NULL,NULL,NULL,NULL,'2026-11-29T03:24:00.725228Z','2026-11-29T03:24:00.725228Z',NULL,'18ec662061d170bc-d836ac709fba83d573baeb45cf692af0',NULL,NULL,0,0,1533066,2,'=50dc7ffd37ace2cac67cf70a76930690',NULL,0,NULL,NULL,NULL,1,0,'cancel',NULL,NULL,NULL,NULL,NULL,NULL);
INSERT INTO "background_jobs" VALUES(10,'jobs.Example','work','{}','pending',0,3,5.0,'constant',3600.0,'default',0,NULL,'2026-11-29T05:24:02.362257Z',NULL,NULL,'2026-11-29T03:24:02.377090Z','2026-11-29T03:24:02.377090Z',NULL,'18ec6620c4f2627a-b89aa30f6f5177e75197dd8f55a6b21c',NULL,NULL,0,0,1533119,0,'=0652d91481b5d49bdccb7c7f671e8e20',NULL,0,NULL,NULL,NULL,0,0,NULL,NULL,NULL,NULL,'2026-11-29T12:24:02.362257Z',NULL,NULL);
INSERT INTO "background_jobs" VALUES(11,'jobs.Example','work','{}','pending',0,3,5.0,'constant',3600.0,'default',0,NULL,'2026-11-29T06:24:04.227260Z',NULL,NULL,'2026-11-29T03:24:04.238846Z','2026-11-29T03:24:04.238846Z',NULL,'18ec662135263de4-d22614158b6f61c31b849fde5db3b521',NULL,NULL,0,0,1533165,0,'=f6b2fd7226af1329eb39663b5f76d75a',NULL,0,NULL,NULL,NULL,0,0,NULL,NULL,NULL,NULL,NULL,'one','unfinished');
CREATE TABLE "consequences" ("of" VARCHAR(255) NOT NULL, "id" INTEGER NOT NULL, "done_to" INTEGER NOT NULL, PRIMARY KEY ("of", "id")) WITHOUT ROWID;
CREATE TABLE "job_attempts" ("job_id" INTEGER NOT NULL, "number" INTEGER NOT NULL, "token" VARCHAR(255) NOT NULL, "boot_id" VARCHAR(255) NOT NULL, "pid" INTEGER, "started_at" VARCHAR(255), "finished_at" VARCHAR(255), "outcome" VARCHAR(255), "exit_code" INTEGER, "signal" INTEGER, "error_type" TEXT, "error_message" TEXT, "traceback" TEXT, "max_rss" INTEGER, "cpu_user" REAL, "cpu_system" REAL, "output_bytes" INTEGER, "code_version" VARCHAR(255), "progress" TEXT, "noted" INTEGER NOT NULL DEFAULT 0, "spends_retry" INTEGER NOT NULL DEFAULT 1, "error_class" TEXT, PRIMARY KEY ("job_id", "number")) WITHOUT ROWID;
INSERT INTO "job_attempts" VALUES(1,1,'1e1830fffa4bd4e1','1df388ec-d432-41b4-9c12-5c687383d3a6',1532402,'2026-11-29T03:23:42.238311Z','2026-11-29T03:23:42.248647Z','completed',0,NULL,NULL,NULL,NULL,14712832,0.005473,0.0,0,'c2648968a48b',NULL,0,1,NULL);
INSERT INTO "job_attempts" VALUES(2,1,'b1dad13301abae2d','1df388ec-d432-41b4-9c12-5c687383d3a6',1532441,'2026-11-29T03:23:45.468092Z','2026-11-29T03:23:45.521921Z','failed',1,NULL,'ValueError','no','Traceback (most recent call last):
  File "/srv/app/jobs.py", line 13, in fail
    raise ValueError(message)
ValueError: no
',14999552,0.0,1.27669999999999988e-02,0,'c2648968a48b',NULL,0,1,'builtins.ValueError');
INSERT INTO "job_attempts" VALUES(3,1,'b73046294d635653','1df388ec-d432-41b4-9c12-5c687383d3a6',1532607,'2026-11-29T03:23:47.353713Z','2026-11-29T03:23:47.397145Z','failed',1,NULL,'ValueError','again','Traceback (most recent call last):
  File "/srv/app/jobs.py", line 13, in fail
    raise ValueError(message)
ValueError: again
',14860288,1.12819999999999986e-02,0.0,0,'c2648968a48b',NULL,0,1,'builtins.ValueError');
INSERT INTO "job_attempts" VALUES(7,1,'b9ef5c0aa24d839d','1df388ec-d432-41b4-9c12-5c687383d3a6',1532673,'2026-11-29T03:23:57.250319Z',NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,'c2648968a48b',NULL,0,1,NULL);
INSERT INTO "job_attempts" VALUES(8,1,'b870ab3f64382f6b','1df388ec-d432-41b4-9c12-5c687383d3a6',1532401,'2026-11-29T03:23:59.124578Z',NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,'c2648968a48b',NULL,0,1,NULL);
CREATE TABLE "job_dependencies" ("job_id" INTEGER NOT NULL, "of" VARCHAR(255) NOT NULL, "after_id" INTEGER NOT NULL, "standing" INTEGER NOT NULL, PRIMARY KEY ("job_id", "of", "after_id")) WITHOUT ROWID;
INSERT INTO "job_dependencies" VALUES(9,'job',7,0);
CREATE TABLE "job_groups" ("id" INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT, "name" VARCHAR(255), "since_id" INTEGER NOT NULL, "group_id" INTEGER, "total" INTEGER NOT NULL, "unfinished" INTEGER NOT NULL, "completed" INTEGER NOT NULL, "failed" INTEGER NOT NULL, "cancelled" INTEGER NOT NULL, "sealed_at" VARCHAR(255), "ended_at" VARCHAR(255), "cancel_requested_at" VARCHAR(255), "created_at" VARCHAR(255) NOT NULL, "idempotency_key" VARCHAR(255), "submitted_uid" INTEGER);
CREATE TABLE "job_logs" ("id" INTEGER NOT NULL PRIMARY KEY, "job_id" INTEGER NOT NULL, "attempt" INTEGER, "type" VARCHAR(255) NOT NULL, "message" TEXT NOT NULL, "context" TEXT, "created_at" VARCHAR(255) NOT NULL, "folded" TEXT, "attempts_allowed" INTEGER);
INSERT INTO "job_logs" VALUES(1,1,NULL,'success','Background job initiated','{"id":1,"class_name":"jobs.Example","method_name":"work","status":"pending","retry_count":0,"max_retries":3,"queue":"default","priority":0,"parameters":{"to":"user@example.com"}}','2026-11-29T03:23:42.182181Z',NULL,NULL);
INSERT INTO "job_logs" VALUES(2,1,1,'success','Background job dispatched on Linux platform',NULL,'2026-11-29T03:23:42.182181Z',NULL,4);
INSERT INTO "job_logs" VALUES(3,1,1,'success','Background job started','{"id":1,"class_name":"jobs.Example","method_name":"work","status":"running","retry_count":0,"max_retries":3,"queue":"default","priority":0,"parameters":{"to":"user@example.com"}}','2026-11-29T03:23:42.374103Z',NULL,4);
INSERT INTO "job_logs" VALUES(4,1,1,'success','Background job completed processing',NULL,'2026-11-29T03:23:42.374103Z',NULL,4);
INSERT INTO "job_logs" VALUES(5,2,NULL,'success','Background job initiated','{"id":2,"class_name":"jobs.Example","method_name":"fail","status":"pending","retry_count":0,"max_retries":0,"queue":"default","priority":0,"parameters":{"message":"no"}}','2026-11-29T03:23:45.389040Z',NULL,NULL);
INSERT INTO "job_logs" VALUES(6,2,1,'success','Background job dispatched on Linux platform',NULL,'2026-11-29T03:23:45.389040Z',NULL,1);
INSERT INTO "job_logs" VALUES(7,2,1,'success','Background job started','{"id":2,"class_name":"jobs.Example","method_name":"fail","status":"running","retry_count":0,"max_retries":0,"queue":"default","priority":0,"parameters":{"message":"no"}}','2026-11-29T03:23:45.583883Z',NULL,1);
INSERT INTO "job_logs" VALUES(8,2,1,'failure','ValueError: no (attempt 1 of 1)',NULL,'2026-11-29T03:23:45.583883Z',NULL,1);
INSERT INTO "job_logs" VALUES(9,3,NULL,'success','Background job initiated','{"id":3,"class_name":"jobs.Example","method_name":"fail","status":"pending","retry_count":0,"max_retries":3,"queue":"default","priority":0,"parameters":{"message":"again"}}','2026-11-29T03:23:47.342156Z',NULL,NULL);
INSERT INTO "job_logs" VALUES(10,3,1,'success','Background job dispatched on Linux platform',NULL,'2026-11-29T03:23:47.342156Z',NULL,4);
INSERT INTO "job_logs" VALUES(11,3,1,'success','Background job started','{"id":3,"class_name":"jobs.Example","method_name":"fail","status":"running","retry_count":0,"max_retries":3,"queue":"default","priority":0,"parameters":{"message":"again"}}','2026-11-29T03:23:47.437568Z',NULL,4);
INSERT INTO "job_logs" VALUES(12,3,1,'failure','ValueError: again (attempt 1 of 4, next at 13:23:47)',NULL,'2026-11-29T03:23:47.437568Z',NULL,4);
INSERT INTO "job_logs" VALUES(13,3,1,'info','Background job waits for retry 1 of 3 at 13:23:47',NULL,'2026-11-29T03:23:47.437568Z',NULL,4);
INSERT INTO "job_logs" VALUES(14,4,NULL,'success','Background job initiated','{"id":4,"class_name":"jobs.Example","method_name":"work","status":"pending","retry_count":0,"max_retries":3,"queue":"default","priority":0,"parameters":{}}','2026-11-29T03:23:48.694315Z',NULL,NULL);
INSERT INTO "job_logs" VALUES(15,5,NULL,'success','Background job initiated','{"id":5,"class_name":"jobs.Example","method_name":"work","status":"pending","retry_count":0,"max_retries":3,"queue":"held","priority":5,"parameters":{}}','2026-11-29T03:23:51.629139Z',NULL,NULL);
INSERT INTO "job_logs" VALUES(16,6,NULL,'success','Background job initiated','{"id":6,"class_name":"jobs.Example","method_name":"work","status":"pending","retry_count":0,"max_retries":3,"queue":"default","priority":0,"parameters":{}}','2026-11-29T03:23:53.432651Z',NULL,NULL);
INSERT INTO "job_logs" VALUES(17,6,NULL,'info','Background job cancelled',NULL,'2026-11-29T03:23:55.517943Z',NULL,NULL);
INSERT INTO "job_logs" VALUES(18,7,NULL,'success','Background job initiated','{"id":7,"class_name":"jobs.Example","method_name":"wait","status":"pending","retry_count":0,"max_retries":3,"queue":"default","priority":0,"parameters":{}}','2026-11-29T03:23:57.213152Z',NULL,NULL);
INSERT INTO "job_logs" VALUES(19,7,1,'success','Background job dispatched on Linux platform',NULL,'2026-11-29T03:23:57.213152Z',NULL,4);
INSERT INTO "job_logs" VALUES(20,7,1,'success','Background job started','{"id":7,"class_name":"jobs.Example","method_name":"wait","status":"running","retry_count":0,"max_retries":3,"queue":"default","priority":0,"parameters":{}}','2026-11-29T03:23:57.330150Z',NULL,4);
INSERT INTO "job_logs" VALUES(21,8,NULL,'success','Background job initiated','{"id":8,"class_name":"jobs.Example","method_name":"ignore","status":"pending","retry_count":0,"max_retries":3,"queue":"default","priority":0,"parameters":{}}','2026-11-29T03:23:59.027402Z',NULL,NULL);
INSERT INTO "job_logs" VALUES(22,8,1,'success','Background job dispatched on Linux platform',NULL,'2026-11-29T03:23:59.027402Z',NULL,4);
INSERT INTO "job_logs" VALUES(23,8,1,'success','Background job started','{"id":8,"class_name":"jobs.Example","method_name":"ignore","status":"running","retry_count":0,"max_retries":3,"queue":"default","priority":0,"parameters":{}}','2026-11-29T03:23:59.195930Z',NULL,4);
INSERT INTO "job_logs" VALUES(24,9,NULL,'success','Background job initiated','{"id":9,"class_name":"jobs.Example","method_name":"work","status":"pending","retry_count":0,"max_retries":3,"queue":"default","priority":0,"parameters":{}}','2026-11-29T03:24:00.725228Z',NULL,NULL);
INSERT INTO "job_logs" VALUES(25,9,NULL,'info','Background job waits for another',NULL,'2026-11-29T03:24:00.725228Z',NULL,NULL);
INSERT INTO "job_logs" VALUES(26,10,NULL,'success','Background job initiated','{"id":10,"class_name":"jobs.Example","method_name":"work","status":"pending","retry_count":0,"max_retries":3,"queue":"default","priority":0,"parameters":{}}','2026-11-29T03:24:02.377090Z',NULL,NULL);
INSERT INTO "job_logs" VALUES(27,11,NULL,'success','Background job initiated','{"id":11,"class_name":"jobs.Example","method_name":"work","status":"pending","retry_count":0,"max_retries":3,"queue":"default","priority":0,"parameters":{}}','2026-11-29T03:24:04.238846Z',NULL,NULL);
INSERT INTO "job_logs" VALUES(28,8,1,'info','Background job cancel requested',NULL,'2026-11-29T03:24:06.541187Z',NULL,4);
CREATE TABLE "properties" ("name" VARCHAR(255) NOT NULL PRIMARY KEY, "value" TEXT NOT NULL);
INSERT INTO "properties" VALUES('database_id','fba936b9-18a2-4594-aa80-1e2fd35641ae');
CREATE TABLE "queues" ("name" VARCHAR(255) NOT NULL PRIMARY KEY, "paused_at" VARCHAR(255) NOT NULL);
INSERT INTO "queues" VALUES('held','2026-11-29T03:23:50.180582Z');
CREATE TABLE "schedule_occurrences" ("name" VARCHAR(255) NOT NULL, "at" VARCHAR(255) NOT NULL, "until" VARCHAR(255) NOT NULL, "count" INTEGER NOT NULL, "verdict" VARCHAR(255) NOT NULL, "reason" VARCHAR(255), "job_id" INTEGER, "dealt_at" VARCHAR(255) NOT NULL, PRIMARY KEY ("name", "at")) WITHOUT ROWID;
CREATE TABLE "schedules" ("name" VARCHAR(255) NOT NULL PRIMARY KEY, "definition" TEXT NOT NULL, "since" VARCHAR(255) NOT NULL, "cursor" VARCHAR(255) NOT NULL, "paused_at" VARCHAR(255), "removed_at" VARCHAR(255), "uid" INTEGER, "made_by" VARCHAR(255));
INSERT INTO "schedules" VALUES('nightly','{"job":"jobs.Example::work","cron":"30 2 * * *","zone":"UTC"}','2026-11-29T03:23:39.073093Z','2026-11-29T03:23:39.073093Z',NULL,NULL,NULL,NULL);
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
PRAGMA user_version = 12;
