-- Schema version 2, as commit ca1d4496 wrote it. Never to be changed.
BEGIN TRANSACTION;
CREATE TABLE "background_jobs" ("id" INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT, "class_name" VARCHAR(255) NOT NULL, "method_name" VARCHAR(255) NOT NULL, "parameters" TEXT NOT NULL, "status" VARCHAR(255) NOT NULL, "retry_count" INTEGER NOT NULL, "max_retries" INTEGER NOT NULL, "retry_delay" REAL NOT NULL, "backoff" VARCHAR(255) NOT NULL, "max_retry_delay" REAL NOT NULL, "queue" VARCHAR(255) NOT NULL, "priority" INTEGER NOT NULL, "timeout" REAL, "scheduled_at" VARCHAR(255), "started_at" VARCHAR(255), "finished_at" VARCHAR(255), "created_at" VARCHAR(255) NOT NULL, "updated_at" VARCHAR(255) NOT NULL, "cancel_requested_at" VARCHAR(255), "idempotency_key" VARCHAR(255), "result" TEXT, "error" TEXT, "submitted_uid" INTEGER, "submitted_gid" INTEGER, "submitted_pid" INTEGER, "ready" INTEGER NOT NULL, "request_digest" VARCHAR(255), "sensitive" TEXT);
INSERT INTO "background_jobs" VALUES(1,'jobs.Example','work','{"to":"user@example.com"}','completed',0,3,5.0,'constant',3600.0,'default',0,NULL,NULL,'2026-11-29T03:13:42.377697Z','2026-11-29T03:13:42.461314Z','2026-11-29T03:13:42.377697Z','2026-11-29T03:13:42.465948Z',NULL,'done','{"sent":"user@example.com"}',NULL,0,0,1510966,1,'3e06ce13f425279d9ec2c75047fcef2c',NULL);
INSERT INTO "background_jobs" VALUES(2,'jobs.Example','fail','{"message":"no"}','failed',0,0,5.0,'constant',3600.0,'default',0,NULL,NULL,'2026-11-29T03:13:43.866052Z','2026-11-29T03:13:43.969189Z','2026-11-29T03:13:43.866052Z','2026-11-29T03:13:43.989325Z',NULL,'18ec6590c3fc744a-afaf4941fc3636f58d476372e6969acc',NULL,'ValueError: no',0,0,1511237,1,'d7d7c1bfa6476b1fc145330cfc64d0b8',NULL);
INSERT INTO "background_jobs" VALUES(3,'jobs.Example','fail','{"message":"again"}','pending',1,3,36000.0,'constant',3600.0,'default',0,NULL,'2026-11-29T13:13:45.253166Z','2026-11-29T03:13:45.095420Z',NULL,'2026-11-29T03:13:45.095420Z','2026-11-29T03:13:45.253166Z',NULL,'18ec65910d3b058e-3a135f2a4cf68789651d9911d079a8ec',NULL,'ValueError: again',0,0,1511318,0,'8ef3efaf26f7e798debca113af96fba0',NULL);
INSERT INTO "background_jobs" VALUES(4,'jobs.Example','work','{}','pending',0,3,5.0,'constant',3600.0,'default',0,NULL,'2026-11-29T13:13:46.493924Z',NULL,NULL,'2026-11-29T03:13:46.496980Z','2026-11-29T03:13:46.496980Z',NULL,'18ec65916143c929-e67c0fe23875b69e8941d0a18185c807',NULL,NULL,0,0,1511439,0,'62cffedf021cbabb0d45b70d12f9c795',NULL);
INSERT INTO "background_jobs" VALUES(5,'jobs.Example','work','{}','pending',0,3,5.0,'constant',3600.0,'held',5,NULL,NULL,NULL,NULL,'2026-11-29T03:13:48.897011Z','2026-11-29T03:13:48.897011Z',NULL,'18ec6591efba70c7-5f810543aff0b5bc68ad5cd29b1cc04d',NULL,NULL,0,0,1511592,1,'304217553636e0c08082da0b981cd3fc',NULL);
INSERT INTO "background_jobs" VALUES(6,'jobs.Example','work','{}','cancelled',0,3,5.0,'constant',3600.0,'default',0,NULL,'2026-11-29T12:13:50.129595Z',NULL,'2026-11-29T03:13:51.481034Z','2026-11-29T03:13:50.132642Z','2026-11-29T03:13:51.481034Z','2026-11-29T03:13:51.481034Z','18ec6592393ee289-5041d7bfc8f733f925d3bd5bd782741c',NULL,NULL,0,0,1511679,0,'33497a24f11a91d25c2c82a37a7db4ba',NULL);
INSERT INTO "background_jobs" VALUES(7,'jobs.Example','wait','{}','running',0,3,5.0,'constant',3600.0,'default',0,NULL,NULL,'2026-11-29T03:13:52.930072Z',NULL,'2026-11-29T03:13:52.930072Z','2026-11-29T03:13:52.930072Z',NULL,'18ec6592dfdde85a-ba4711834653969e135e15dd57abe8d4',NULL,NULL,0,0,1511835,1,'1e1e9fa15a2d804f5e60fe7500c31c20',NULL);
INSERT INTO "background_jobs" VALUES(8,'jobs.Example','ignore','{}','running',0,3,5.0,'constant',3600.0,'default',0,NULL,NULL,'2026-11-29T03:13:54.197982Z',NULL,'2026-11-29T03:13:54.197982Z','2026-11-29T03:13:55.511121Z','2026-11-29T03:13:55.511121Z','18ec65932bfb2acc-dba23e41a4daf92d43eb32d01709f354',NULL,NULL,0,0,1511873,1,'f2ce645d6dfe6f66c5a8ff6cb5b4b4d6',NULL);
CREATE TABLE "job_attempts" ("job_id" INTEGER NOT NULL, "number" INTEGER NOT NULL, "token" VARCHAR(255) NOT NULL, "boot_id" VARCHAR(255) NOT NULL, "pid" INTEGER, "started_at" VARCHAR(255), "finished_at" VARCHAR(255), "outcome" VARCHAR(255), "exit_code" INTEGER, "signal" INTEGER, "error_type" TEXT, "error_message" TEXT, "traceback" TEXT, "max_rss" INTEGER, "cpu_user" REAL, "cpu_system" REAL, "output_bytes" INTEGER, "code_version" VARCHAR(255), "progress" TEXT, "noted" INTEGER NOT NULL DEFAULT 0, PRIMARY KEY ("job_id", "number")) WITHOUT ROWID;
INSERT INTO "job_attempts" VALUES(1,1,'ea4f252e453c04d4','1df388ec-d432-41b4-9c12-5c687383d3a6',1511192,'2026-11-29T03:13:42.437841Z','2026-11-29T03:13:42.461314Z','completed',0,NULL,NULL,NULL,NULL,13545472,0.0,0.004281,0,'155827357008',NULL,0);
INSERT INTO "job_attempts" VALUES(2,1,'e97c04f556e4bb96','1df388ec-d432-41b4-9c12-5c687383d3a6',1511303,'2026-11-29T03:13:43.898229Z','2026-11-29T03:13:43.969189Z','failed',1,NULL,'ValueError','no','Traceback (most recent call last):
  File "/srv/app/jobs.py", line 13, in fail
    raise ValueError(message)
ValueError: no
',13881344,0.005417,0.005417,0,'155827357008',NULL,0);
INSERT INTO "job_attempts" VALUES(3,1,'a961d3b168958f46','1df388ec-d432-41b4-9c12-5c687383d3a6',1511426,'2026-11-29T03:13:45.138245Z','2026-11-29T03:13:45.215540Z','failed',1,NULL,'ValueError','again','Traceback (most recent call last):
  File "/srv/app/jobs.py", line 13, in fail
    raise ValueError(message)
ValueError: again
',13881344,6.79899999999999948e-03,3.39899999999999967e-03,0,'155827357008',NULL,0);
INSERT INTO "job_attempts" VALUES(7,1,'611831d9b5e731a1','1df388ec-d432-41b4-9c12-5c687383d3a6',1511865,'2026-11-29T03:13:52.977679Z',NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,'155827357008',NULL,0);
INSERT INTO "job_attempts" VALUES(8,1,'6caddd2f9e6df850','1df388ec-d432-41b4-9c12-5c687383d3a6',1511949,'2026-11-29T03:13:54.218716Z',NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,'155827357008',NULL,0);
CREATE TABLE "job_logs" ("id" INTEGER NOT NULL PRIMARY KEY, "job_id" INTEGER NOT NULL, "attempt" INTEGER, "type" VARCHAR(255) NOT NULL, "message" TEXT NOT NULL, "context" TEXT, "created_at" VARCHAR(255) NOT NULL, "folded" TEXT);
INSERT INTO "job_logs" VALUES(1,1,NULL,'success','Background job initiated','{"id":1,"class_name":"jobs.Example","method_name":"work","status":"pending","retry_count":0,"max_retries":3,"queue":"default","priority":0,"parameters":{"to":"user@example.com"}}','2026-11-29T03:13:42.377697Z',NULL);
INSERT INTO "job_logs" VALUES(2,1,1,'success','Background job dispatched on Linux platform',NULL,'2026-11-29T03:13:42.377697Z',NULL);
INSERT INTO "job_logs" VALUES(3,1,1,'success','Background job started','{"id":1,"class_name":"jobs.Example","method_name":"work","status":"running","retry_count":0,"max_retries":3,"queue":"default","priority":0,"parameters":{"to":"user@example.com"}}','2026-11-29T03:13:42.465948Z',NULL);
INSERT INTO "job_logs" VALUES(4,1,1,'success','Background job completed processing',NULL,'2026-11-29T03:13:42.465948Z',NULL);
INSERT INTO "job_logs" VALUES(5,2,NULL,'success','Background job initiated','{"id":2,"class_name":"jobs.Example","method_name":"fail","status":"pending","retry_count":0,"max_retries":0,"queue":"default","priority":0,"parameters":{"message":"no"}}','2026-11-29T03:13:43.866052Z',NULL);
INSERT INTO "job_logs" VALUES(6,2,1,'success','Background job dispatched on Linux platform',NULL,'2026-11-29T03:13:43.866052Z',NULL);
INSERT INTO "job_logs" VALUES(7,2,1,'success','Background job started','{"id":2,"class_name":"jobs.Example","method_name":"fail","status":"running","retry_count":0,"max_retries":0,"queue":"default","priority":0,"parameters":{"message":"no"}}','2026-11-29T03:13:43.989325Z',NULL);
INSERT INTO "job_logs" VALUES(8,2,1,'failure','ValueError: no (attempt 1 of 1)',NULL,'2026-11-29T03:13:43.989325Z',NULL);
INSERT INTO "job_logs" VALUES(9,3,NULL,'success','Background job initiated','{"id":3,"class_name":"jobs.Example","method_name":"fail","status":"pending","retry_count":0,"max_retries":3,"queue":"default","priority":0,"parameters":{"message":"again"}}','2026-11-29T03:13:45.095420Z',NULL);
INSERT INTO "job_logs" VALUES(10,3,1,'success','Background job dispatched on Linux platform',NULL,'2026-11-29T03:13:45.095420Z',NULL);
INSERT INTO "job_logs" VALUES(11,3,1,'success','Background job started','{"id":3,"class_name":"jobs.Example","method_name":"fail","status":"running","retry_count":0,"max_retries":3,"queue":"default","priority":0,"parameters":{"message":"again"}}','2026-11-29T03:13:45.210490Z',NULL);
INSERT INTO "job_logs" VALUES(12,3,1,'failure','ValueError: again (attempt 1 of 4, next at 13:13:45)',NULL,'2026-11-29T03:13:45.253166Z',NULL);
INSERT INTO "job_logs" VALUES(13,3,1,'info','Background job waits for retry 1 of 3 at 13:13:45',NULL,'2026-11-29T03:13:45.253166Z',NULL);
INSERT INTO "job_logs" VALUES(14,4,NULL,'success','Background job initiated','{"id":4,"class_name":"jobs.Example","method_name":"work","status":"pending","retry_count":0,"max_retries":3,"queue":"default","priority":0,"parameters":{}}','2026-11-29T03:13:46.496980Z',NULL);
INSERT INTO "job_logs" VALUES(15,5,NULL,'success','Background job initiated','{"id":5,"class_name":"jobs.Example","method_name":"work","status":"pending","retry_count":0,"max_retries":3,"queue":"held","priority":5,"parameters":{}}','2026-11-29T03:13:48.897011Z',NULL);
INSERT INTO "job_logs" VALUES(16,6,NULL,'success','Background job initiated','{"id":6,"class_name":"jobs.Example","method_name":"work","status":"pending","retry_count":0,"max_retries":3,"queue":"default","priority":0,"parameters":{}}','2026-11-29T03:13:50.132642Z',NULL);
INSERT INTO "job_logs" VALUES(17,6,NULL,'info','Background job cancelled',NULL,'2026-11-29T03:13:51.481034Z',NULL);
INSERT INTO "job_logs" VALUES(18,7,NULL,'success','Background job initiated','{"id":7,"class_name":"jobs.Example","method_name":"wait","status":"pending","retry_count":0,"max_retries":3,"queue":"default","priority":0,"parameters":{}}','2026-11-29T03:13:52.930072Z',NULL);
INSERT INTO "job_logs" VALUES(19,7,1,'success','Background job dispatched on Linux platform',NULL,'2026-11-29T03:13:52.930072Z',NULL);
INSERT INTO "job_logs" VALUES(20,7,1,'success','Background job started','{"id":7,"class_name":"jobs.Example","method_name":"wait","status":"running","retry_count":0,"max_retries":3,"queue":"default","priority":0,"parameters":{}}','2026-11-29T03:13:53.061821Z',NULL);
INSERT INTO "job_logs" VALUES(21,8,NULL,'success','Background job initiated','{"id":8,"class_name":"jobs.Example","method_name":"ignore","status":"pending","retry_count":0,"max_retries":3,"queue":"default","priority":0,"parameters":{}}','2026-11-29T03:13:54.197982Z',NULL);
INSERT INTO "job_logs" VALUES(22,8,1,'success','Background job dispatched on Linux platform',NULL,'2026-11-29T03:13:54.197982Z',NULL);
INSERT INTO "job_logs" VALUES(23,8,1,'success','Background job started','{"id":8,"class_name":"jobs.Example","method_name":"ignore","status":"running","retry_count":0,"max_retries":3,"queue":"default","priority":0,"parameters":{}}','2026-11-29T03:13:54.319155Z',NULL);
INSERT INTO "job_logs" VALUES(24,8,1,'info','Background job cancel requested',NULL,'2026-11-29T03:13:55.511121Z',NULL);
CREATE TABLE "properties" ("name" VARCHAR(255) NOT NULL PRIMARY KEY, "value" TEXT NOT NULL);
INSERT INTO "properties" VALUES('database_id','ba059579-8ab7-48ab-9c19-3c4ea37a5582');
CREATE TABLE "queues" ("name" VARCHAR(255) NOT NULL PRIMARY KEY, "paused_at" VARCHAR(255) NOT NULL);
INSERT INTO "queues" VALUES('held','2026-11-29T03:13:47.767745Z');
CREATE INDEX jobs_ready ON background_jobs (queue, priority DESC, id) WHERE status = 'pending' AND ready = 1;
CREATE INDEX jobs_scheduled ON background_jobs (scheduled_at) WHERE status = 'pending' AND ready = 0;
CREATE INDEX jobs_running ON background_jobs (queue) WHERE status = 'running';
CREATE UNIQUE INDEX jobs_key ON background_jobs (idempotency_key) WHERE idempotency_key IS NOT NULL;
CREATE INDEX jobs_finished ON background_jobs (status, id) WHERE finished_at IS NOT NULL;
CREATE INDEX attempts_open ON job_attempts (job_id, number) WHERE outcome IS NULL;
CREATE INDEX logs_job ON job_logs (job_id, id);
CREATE INDEX jobs_pending ON background_jobs (ready) WHERE status = 'pending' AND finished_at IS NULL;
CREATE INDEX logs_type ON job_logs (type) WHERE type <> 'success';
DELETE FROM "sqlite_sequence";
INSERT INTO "sqlite_sequence" VALUES('background_jobs',8);
COMMIT;
PRAGMA user_version = 2;
